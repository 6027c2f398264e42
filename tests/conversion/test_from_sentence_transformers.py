"""A sentence-transformers folder's own vectors, as sentence-transformers itself gives them."""

import json
import shutil

import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import embed_texts
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.serving import EmbeddingModule
from sample_text import multilingual_sentences
from tiny_huggingface import DIM, LAYERS, POSITIONS, huggingface_model, write_checkpoint

# The last is longer than any limit here.
TEXTS = [*multilingual_sentences(5), "日本語 🙂", "e\u0301  x\ty", "улица и " * 200]


@pytest.fixture(scope="module")
def encoder(tokenizer, tmp_path_factory):
    """A folder with a random encoder and transformers' own tokenizer files."""
    root = tmp_path_factory.mktemp("encoder")
    (root / "source").mkdir()
    write_checkpoint(root / "source", tokenizer, huggingface_model(tokenizer.vocabulary_size, "XLMRobertaModel"))
    convert_checkpoint(root / "source", root / "hf", "hf")
    return root / "hf"


def save_folder(directory, encoder, pooling="mean", normalize=False, max_length=None, extra=(), **options):
    """Writes a folder by sentence-transformers itself and gives its model."""
    import sentence_transformers
    from sentence_transformers.sentence_transformer import modules

    transformer = modules.Transformer(str(encoder), max_seq_length=max_length)
    parts = [transformer, modules.Pooling(DIM, pooling), *extra]
    if normalize:
        parts.append(modules.Normalize())
    model = sentence_transformers.SentenceTransformer(modules=parts, device="cpu", **options)
    model.save_pretrained(str(directory))
    return sentence_transformers.SentenceTransformer(str(directory), device="cpu")


def rewrite(path, change):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(change(content) or content))


def to_old_layout(directory):
    """The layout and the keys of releases before 3: the encoder in a folder of its own, a key for each pooling."""
    inner = directory / "0_Transformer"
    inner.mkdir()
    for path in [path for path in directory.iterdir() if path.is_file()]:
        if path.name not in ("modules.json", "config_sentence_transformers.json", "README.md"):
            path.rename(inner / path.name)
    settings = json.loads((inner / "tokenizer_config.json").read_text())
    limit = {"max_seq_length": settings["model_max_length"], "do_lower_case": False}
    (inner / "sentence_bert_config.json").write_text(json.dumps(limit))

    def modules(content):
        for item in content:
            kind = item["type"].rpartition(".")[2]
            item.update(type=f"sentence_transformers.models.{kind}")
            if kind == "Transformer":
                item["path"] = "0_Transformer"

    rewrite(directory / "modules.json", modules)
    (pooling,) = directory.glob("*_Pooling/config.json")

    def keys(content):
        names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
        old = {f"pooling_mode_{name}": mode == content["pooling_mode"] for mode, name in names.items()}
        return {"word_embedding_dimension": DIM, **old}

    rewrite(pooling, keys)


def cosines(one, other):
    return np.sum(one * other, -1) / (np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1))


CASES = {
    "cls": {"pooling": "cls"},
    "mean": {"pooling": "mean"},
    "max": {"pooling": "max"},
    "normalized": {"pooling": "cls", "normalize": True},
    "short": {"pooling": "mean", "max_length": 12},
    "prompts": {"pooling": "mean", "prompts": {"query": "query: ", "document": ""}},
}


@pytest.mark.parametrize("old_layout", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("case", CASES)
def test_vectors_are_the_folders_own(case, old_layout, encoder, tmp_path, capsys):
    import sentence_transformers

    theirs = save_folder(tmp_path / "folder", encoder, **CASES[case])
    if old_layout:
        to_old_layout(tmp_path / "folder")
        theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "folder"), device="cpu")
    expected = theirs.encode(TEXTS)
    capsys.readouterr()
    model = load_pretrained(tmp_path / "folder")
    output = capsys.readouterr().out
    assert ("query" in output) == (case == "prompts")
    prompts = CASES[case].get("prompts", {})
    assert model.info.prompts == prompts
    module = EmbeddingModule(model)
    vectors = module.predict(*module.text_to_ids(TEXTS))["embedding"].numpy()
    assert cosines(vectors, expected).min() > 0.9999
    # Out again, by way of a preset, into a folder that sentence-transformers opens.
    convert_checkpoint(tmp_path / "folder", tmp_path / "preset", "keras")
    convert_checkpoint(tmp_path / "preset", tmp_path / "again", "sentence-transformers")
    again = sentence_transformers.SentenceTransformer(str(tmp_path / "again"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), expected, rtol=0, atol=1e-4)
    for name in prompts:
        asked = theirs.encode(TEXTS, prompt_name=name)
        np.testing.assert_allclose(model.encode(TEXTS, prompt=name), asked, rtol=0, atol=1e-5)
        np.testing.assert_allclose(again.encode(TEXTS, prompt_name=name), asked, rtol=0, atol=1e-4)
        assert (np.abs(asked - expected).max() > 0.01) == (name == "query")


def test_a_pooling_without_the_tokens_of_prompts_has_none(encoder, tmp_path, capsys):
    save_folder(tmp_path / "folder", encoder, prompts={"query": "query: "})
    pooling = next((tmp_path / "folder").glob("*_Pooling/config.json"))
    rewrite(pooling, lambda content: {**content, "include_prompt": False})
    capsys.readouterr()
    model = load_pretrained(tmp_path / "folder")
    assert "leaves out the tokens of prompts" in capsys.readouterr().out and model.info.prompts == {}
    with pytest.raises(InputError, match="prompt 'query': no such prompt; the model has no prompts"):
        model.encode("text", prompt="query")


def test_a_default_prompt_can_be_asked_for(encoder, tmp_path):
    theirs = save_folder(tmp_path / "folder", encoder, prompts={"query": "query: "}, default_prompt_name="query")
    model = load_pretrained(tmp_path / "folder")
    with pytest.raises(InputError, match="default prompt 'query: '"):
        model.encode(TEXTS)
    ours = model.encode(TEXTS, pooling="mean", prompt="query")
    assert cosines(ours, theirs.encode(TEXTS)).min() > 1 - 1e-6


def test_evaluation_takes_the_folders_pooling(encoder, tmp_path):
    from infoxlm_keras.commands.evaluate_retrieval import main

    save_folder(tmp_path / "folder", encoder, "cls", max_length=12)
    (tmp_path / "en-de.tsv").write_text("".join(f"{text} {n}\t{text} {n}\n" for n, text in enumerate(TEXTS[:5])))
    arguments = ["--model", tmp_path / "folder", "--pairs", tmp_path, "--output", tmp_path / "out.json"]
    main([str(argument) for argument in arguments])
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["pooling"] == "cls"
    assert result["model"]["pretraining"]["universal_layer"] == LAYERS
    assert result["model"]["pretraining"]["max_length"] == 12


def _dense(encoder):
    from sentence_transformers.base.modules import Dense

    return {"extra": [Dense(DIM, DIM)]}


def _settings(**values):
    return lambda folder: rewrite(folder / "config_sentence_transformers.json", lambda content: {**content, **values})


REFUSED = {
    "weighted mean": ({"pooling": "weightedmean"}, None, ["1_Pooling", "'weightedmean'"]),
    "two poolings": ({"pooling": ("cls", "mean")}, None, ["'cls and mean'"]),
    "last token": ({"pooling": "lasttoken"}, None, ["'lasttoken'"]),
    "dense": (_dense, None, ["modules.json", "Dense"]),
    "default prompt": (
        {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
        None,
        ["default prompt 'query: '"],
    ),
    "dimensions": ({}, _settings(truncate_dim=4), ["truncate_dim = 4"]),
    "lower case": (
        {},
        lambda folder: rewrite(folder / "sentence_bert_config.json", lambda c: {**c, "do_lower_case": True}),
        ["do_lower_case"],
    ),
    "no pooling settings": (
        {},
        lambda folder: next(folder.glob("*_Pooling/config.json")).unlink(),
        ["_Pooling/config.json: no such file"],
    ),
    "odd pooling": (
        {},
        lambda folder: rewrite(next(folder.glob("*_Pooling/config.json")), lambda c: {"pooling_mode": 5}),
        ["pooling_mode = 5"],
    ),
    "odd prompts": ({}, _settings(prompts={"query": 3}), ["prompts = {'query': 3}"]),
    "odd length": (
        {},
        lambda folder: rewrite(folder / "tokenizer_config.json", lambda c: {**c, "model_max_length": -4}),
        ["-4"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_expressed_is_refused_by_name(case, encoder, tmp_path, capsys):
    """The encoder is read nevertheless, and --pooling says which of its vectors to take; so does a preset of it."""
    options, damage, words = REFUSED[case]
    save_folder(tmp_path / "folder", encoder, **(options(encoder) if callable(options) else options))
    if damage is not None:
        damage(tmp_path / "folder")
    model = load_pretrained(tmp_path / "folder")
    output = capsys.readouterr().out
    assert output.startswith("warning: ") and "sentence vectors" in output
    convert_checkpoint(tmp_path / "folder", tmp_path / "preset", "keras")
    for source in (model, load_pretrained(tmp_path / "preset")):
        with pytest.raises(InputError) as error:
            EmbeddingModule(source)
        assert "\n" not in str(error.value) and "--pooling" in str(error.value)
        for word in words:
            assert word in str(error.value)
        assert EmbeddingModule(source, pooling="mean").layer == LAYERS
    with pytest.raises(InputError, match="--pooling"):
        convert_checkpoint(tmp_path / "folder", tmp_path / "out", "sentence-transformers")
    assert not (tmp_path / "out").exists()


MODULES = {
    "no list": ({"a": 1}, "not a list of modules"),
    "no types": ([{"idx": 0}], "not a list of modules"),
    "no transformer": ([{"type": "x.BoW", "path": ""}], "lists BoW, but no Transformer"),
    "outside": ([{"type": "x.Transformer", "path": "../elsewhere"}], "not inside"),
    "missing folder": ([{"type": "x.Transformer", "path": "0_T"}], "'0_T'"),
}


@pytest.mark.parametrize("case", MODULES)
def test_damaged_modules(case, encoder, tmp_path):
    content, words = MODULES[case]
    shutil.copytree(encoder, tmp_path / "folder")
    (tmp_path / "folder" / "modules.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        load_pretrained(tmp_path / "folder")


def test_longer_limits_than_positions_are_the_positions(encoder, tmp_path, tokenizer):
    save_folder(tmp_path / "folder", encoder, "mean")
    rewrite(tmp_path / "folder" / "tokenizer_config.json", lambda c: {**c, "model_max_length": 4096})
    model = load_pretrained(tmp_path / "folder")
    module = EmbeddingModule(model)
    assert module.text_to_ids.max_length == POSITIONS
    (expected,) = embed_texts(model.backbone, tokenizer, TEXTS, layers=[LAYERS])
    assert cosines(module.predict(*module.text_to_ids(TEXTS))["embedding"].numpy(), expected).min() > 0.9999
