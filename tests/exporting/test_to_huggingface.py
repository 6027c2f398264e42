"""From ours to folders that transformers, sentence-transformers and KerasHub open."""

import dataclasses
import json

import keras_hub
import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import embed_texts
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.pretrained import PretrainingInfo, has_masked_lm_head, load_pretrained, save_pretrained
from retrieval_results import retrieval_result
from running import tree
from sample_text import multilingual_sentences
from tiny_huggingface import (
    LAYERS,
    POSITIONS,
    huggingface_logits,
    huggingface_model,
    our_logits,
    random_ids,
    write_checkpoint,
)

# Our longest text is cut at the model's positions.
TEXTS = [*multilingual_sentences(4), "", "日本語 🙂 ＡＢ", "e\u0301  x\ty", "улица и " * 200]


@pytest.fixture(scope="module")
def original(tokenizer, tmp_path_factory):
    """(directory, transformers' model): token types of two rows, of which none is zero."""
    directory = tmp_path_factory.mktemp("original")
    model = huggingface_model(tokenizer.vocabulary_size, type_vocab_size=2)
    return directory, write_checkpoint(directory, tokenizer, model)


@pytest.fixture(scope="module")
def preset(original, tokenizer, tmp_path_factory):
    """`original` as a preset of ours, with a history."""
    directory = tmp_path_factory.mktemp("preset") / "model"
    convert_checkpoint(original[0], directory, "keras")
    info = PretrainingInfo(
        universal_layer=2,
        pooling="cls",
        steps=1234,
        tasks=["mmlm", "xlco"],
        tokenizer_fingerprint=tokenizer.fingerprint,
        data={"mmlm": "sha256:0123", "bitext": "sha256:4567"},
        settings={"seed": 7, "xlco": {"temperature": 0.25}},
    )
    path = directory / "infoxlm.json"
    path.write_text(json.dumps({"version": 1, **dataclasses.asdict(info)}))
    return directory


@pytest.fixture(scope="module")
def exported(preset, tmp_path_factory):
    """`preset` as a folder for transformers."""
    directory = tmp_path_factory.mktemp("exported") / "hf"
    convert_checkpoint(preset, directory, "hf")
    return directory


def state(model):
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def assert_same_state(actual, expected):
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(actual[name], tensor, err_msg=name, strict=True)


def test_a_round_trip_keeps_every_parameter_bit_for_bit(original, exported):
    """Unused rows, token types and head included."""
    import transformers

    model, report = transformers.AutoModelForMaskedLM.from_pretrained(exported, output_loading_info=True)
    assert type(model).__name__ == "XLMRobertaForMaskedLM"
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_state(state(model), state(original[1]))
    for key in ("vocab_size", "max_position_embeddings", "type_vocab_size", "layer_norm_eps", "hidden_act"):
        assert getattr(model.config, key) == getattr(original[1].config, key)


def test_logits_equal_ours(exported, preset):
    import transformers

    ours = load_pretrained(preset)
    token_ids, mask = random_ids(ours.tokenizer.vocabulary_size)
    model = transformers.AutoModelForMaskedLM.from_pretrained(exported).eval()
    expected = our_logits(ours.masked_lm, token_ids, mask)
    used = mask.astype(bool)
    np.testing.assert_allclose(huggingface_logits(model, token_ids, mask)[used], expected[used], rtol=0, atol=1e-5)


def test_auto_model_opens_the_encoder(original, exported):
    import transformers

    model = transformers.AutoModel.from_pretrained(exported, add_pooling_layer=False)
    assert_same_state(state(model), state(original[1].roberta))


def test_token_ids_equal_transformers(exported, tokenizer):
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(exported)
    texts = [*multilingual_sentences(40), *TEXTS[:-1], "\u2028 ﬁ \u00a0x", "a\u0000b", "…—«»"]
    expected = [[0, *token_ids, 2] for token_ids in tokenizer.encode(texts)]
    assert theirs(texts)["input_ids"] == expected
    assert (len(theirs), theirs.mask_token_id) == (tokenizer.vocabulary_size, tokenizer.mask_id)
    special = (theirs.bos_token_id, theirs.pad_token_id, theirs.eos_token_id, theirs.unk_token_id)
    assert special == (0, 1, 2, 3)
    assert theirs.model_max_length == POSITIONS
    assert theirs("the <mask> river")["input_ids"].count(tokenizer.mask_id) == 1
    one, two = (tokenizer.encode([text])[0] for text in ("the house", "a river"))
    assert theirs("the house", "a river")["input_ids"] == [0, *one, 2, 2, *two, 2]
    assert theirs.decode(expected[0], skip_special_tokens=True) == texts[0]


def test_a_tokenizer_that_transformers_saved_is_read(exported, tokenizer, tmp_path):
    """Its newer releases leave the SentencePiece file out."""
    import transformers

    transformers.AutoTokenizer.from_pretrained(exported).save_pretrained(tmp_path)
    assert not (tmp_path / "sentencepiece.bpe.model").exists()
    assert load_tokenizer(tmp_path).encode(TEXTS) == tokenizer.encode(TEXTS)


def test_a_tokenizer_with_byte_fallback(tmp_path):
    import transformers

    from infoxlm_keras.conversion.from_tokenizer_json import from_tokenizer_json
    from infoxlm_keras.exporting.to_huggingface import write_tokenizer
    from infoxlm_keras.text.vocabulary import train_sentencepiece
    from infoxlm_keras.tokenizer import Tokenizer

    tokenizer = Tokenizer(train_sentencepiece(multilingual_sentences(100), 500, byte_fallback=True))
    write_tokenizer(tmp_path, tokenizer, 64)
    texts = [*multilingual_sentences(10), "日本語 ŵ🙂"]
    expected = tokenizer.encode(texts)
    assert 3 not in expected[-1]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs(texts, add_special_tokens=False)["input_ids"] == expected
    assert from_tokenizer_json(tmp_path / "tokenizer.json").encode(texts) == expected


def test_shards_open_and_hold_the_same(original, preset, tmp_path):
    import transformers

    convert_checkpoint(preset, tmp_path / "hf", "hf", max_shard_size="8KB")
    files = sorted((tmp_path / "hf").glob("*.safetensors"))
    assert len(files) > 2 and files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    sizes = [[tensor.nbytes for tensor in safetensors.numpy.load_file(path).values()] for path in files]
    assert all(sum(shard) <= 8_000 or len(shard) == 1 for shard in sizes)
    assert_same_state(state(transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "hf")), state(original[1]))
    assert_same_state(
        {weight.path: np.asarray(weight) for weight in load_pretrained(tmp_path / "hf").masked_lm.weights},
        {weight.path: np.asarray(weight) for weight in load_pretrained(preset).masked_lm.weights},
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(dtype, original, preset, tmp_path):
    import torch
    import transformers

    convert_checkpoint(preset, tmp_path / "hf", "hf", dtype=dtype)
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "hf", dtype="auto")
    assert model.dtype == getattr(torch, dtype)
    expected = original[1].get_input_embeddings().weight.detach().to(model.dtype)
    assert torch.equal(model.get_input_embeddings().weight, expected)


def test_a_value_that_does_not_fit_float16_is_refused(tiny_masked_lm, tokenizer, tmp_path):
    import copy

    masked_lm = copy.deepcopy(tiny_masked_lm)
    kernel = masked_lm.backbone.embeddings_layer_norm.gamma
    kernel.assign(np.full(kernel.shape, 1e5))
    info = PretrainingInfo(universal_layer=1)
    save_pretrained(tmp_path / "model", masked_lm, tokenizer, info)
    with pytest.raises(InputError, match=r"float16: roberta.embeddings.LayerNorm.weight has values beyond"):
        convert_checkpoint(tmp_path / "model", tmp_path / "hf", "hf", dtype="float16")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_trained_model_goes_out_with_its_own_positions(original, tokenizer, tmp_path):
    """Once positions have changed, the rows kept aside no longer tell them: they are written as they are now."""
    import transformers

    from infoxlm_keras.pretrained import write_preset

    model = load_pretrained(original[0])
    positions = model.backbone.embeddings.position_embedding.position_embeddings
    positions.assign_add(np.full(positions.shape, 0.01))
    (tmp_path / "trained").mkdir()
    write_preset(tmp_path / "trained", model)
    convert_checkpoint(tmp_path / "trained", tmp_path / "hf", "hf")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").eval()
    assert not theirs.roberta.embeddings.token_type_embeddings.weight.any()
    token_ids, mask = random_ids(tokenizer.vocabulary_size)
    used = mask.astype(bool)
    expected = our_logits(model.masked_lm, token_ids, mask)
    np.testing.assert_allclose(huggingface_logits(theirs, token_ids, mask)[used], expected[used], rtol=0, atol=1e-5)


def test_an_encoder_without_head_stays_one(tokenizer, tmp_path):
    """No random head is passed off as a trained one, on any leg of the way; the pooler comes back."""
    import transformers

    model = huggingface_model(tokenizer.vocabulary_size, "XLMRobertaModel")
    (tmp_path / "original").mkdir()
    write_checkpoint(tmp_path / "original", tokenizer, model)
    convert_checkpoint(tmp_path / "original", tmp_path / "preset", "keras")
    assert not (tmp_path / "preset" / "task.json").exists()
    assert not load_pretrained(tmp_path / "preset").has_head
    convert_checkpoint(tmp_path / "preset", tmp_path / "hf", "hf")
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["architectures"] == ["XLMRobertaModel"]
    assert not any(has_masked_lm_head(tmp_path / name) for name in ("original", "preset", "hf"))
    assert_same_state(state(transformers.AutoModel.from_pretrained(tmp_path / "hf")), state(model))


def test_a_head_is_seen_in_every_form(original, preset, exported):
    assert all(has_masked_lm_head(directory) for directory in (original[0], preset, exported))


def test_files_are_as_readable_as_others(exported, preset):
    for directory in (exported, preset):
        assert len({path.stat().st_mode for path in directory.iterdir() if path.is_file()}) == 1


def test_our_history_comes_back(exported, preset):
    assert load_pretrained(exported).info == load_pretrained(preset).info


def test_the_same_model_gives_the_same_bytes(exported, preset, tmp_path):
    convert_checkpoint(preset, tmp_path / "hf", "hf")
    assert tree(tmp_path / "hf") == tree(exported)


def test_model_card(exported, preset, tmp_path):
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\npipeline_tag: fill-mask\n")
    for words in (
        "1,234 steps by mmlm, xlco",
        "| records `bitext`, manifest | `sha256:4567` |",
        "| `xlco.temperature` | `0.25` |",
        "| universal layer | 2 (0 = embeddings), pooling cls, unit vectors |",
        "AutoModelForMaskedLM",
    ):
        assert words in card
    assert "## Results" not in card
    results = retrieval_result({"de": ([0.1, 0.2, 0.875, 0.9], [0.1, 0.2, 0.75, 0.9])})
    (tmp_path / "results.json").write_text(json.dumps(results))
    convert_checkpoint(preset, tmp_path / "st", "sentence-transformers", results=tmp_path / "results.json")
    card = (tmp_path / "st" / "README.md").read_text()
    assert "library_name: sentence-transformers" in card
    assert "hidden state 2 (the universal layer" in card
    assert "| en-de | 300 | 87.5 | 75.0 |" in card and "| mean |  | 87.5 | 75.0 |" in card
    assert "hidden state 2 of the original 3 layers" in card


# === sentence-transformers ===


@pytest.mark.parametrize(
    ("settings", "layer", "pooling"),
    [
        ({}, 2, "cls"),  # as trained
        ({"layer": 1, "pooling": "mean"}, 1, "mean"),
        ({"layer": LAYERS, "pooling": "mean", "normalize": False}, LAYERS, "mean"),
    ],
)
def test_sentence_transformers_gives_our_vectors(settings, layer, pooling, preset, tmp_path):
    import sentence_transformers

    convert_checkpoint(preset, tmp_path / "st", "sentence-transformers", **settings)
    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "st"), device="cpu")
    assert theirs[0].auto_model.config.num_hidden_layers == layer
    assert theirs.get_max_seq_length() == POSITIONS
    ours = load_pretrained(preset)
    (expected,) = embed_texts(ours.backbone, ours.tokenizer, TEXTS, layers=[layer], pooling=pooling)
    if settings.get("normalize", True):
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_a_sentence_transformers_folder_is_read_back(preset, tmp_path):
    convert_checkpoint(preset, tmp_path / "st", "sentence-transformers")
    model = load_pretrained(tmp_path / "st")
    assert not model.has_head
    assert (model.backbone.num_layers, model.info.universal_layer, model.info.pooling) == (2, 2, "cls")
    ours = load_pretrained(preset)
    np.testing.assert_array_equal(
        embed_texts(model.backbone, model.tokenizer, TEXTS[:5], layers=[2]),
        embed_texts(ours.backbone, ours.tokenizer, TEXTS[:5], layers=[2]),
    )


# === KerasHub ===


def test_kerashub_tasks_open_a_preset(original, preset):
    ours = load_pretrained(preset)
    masked_lm = keras_hub.models.XLMRobertaMaskedLM.from_preset(str(preset))
    token_ids, mask = random_ids(ours.tokenizer.vocabulary_size)
    used = mask.astype(bool)
    expected = huggingface_logits(original[1], token_ids, mask)
    np.testing.assert_allclose(our_logits(masked_lm, token_ids, mask)[used], expected[used], rtol=0, atol=1e-5)
    # A task's own preprocessor packs 512 tokens, the positions of XLM-R.
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor.from_preset(
        str(preset), sequence_length=POSITIONS
    )
    classifier = keras_hub.models.XLMRobertaTextClassifier.from_preset(
        str(preset), num_classes=3, preprocessor=preprocessor
    )
    assert classifier(preprocessor(["the house", "река"])).shape == (2, 3)
    np.testing.assert_array_equal(
        classifier.backbone.token_embedding.embeddings, ours.backbone.token_embedding.embeddings
    )
    embedder = keras_hub.models.XLMRobertaTextEmbedder.from_preset(str(preset))
    assert embedder.backbone.num_layers == LAYERS


@pytest.mark.parametrize("settings", [{}, {"layer": LAYERS, "pooling": "mean", "normalize": False}])
def test_kerashub_embedder_gives_our_vectors(settings, preset, tmp_path):
    convert_checkpoint(preset, tmp_path / "embedder", "keras-embedder", **settings)
    embedder = keras_hub.models.XLMRobertaTextEmbedder.from_preset(str(tmp_path / "embedder"))
    layer, pooling = settings.get("layer", 2), settings.get("pooling", "cls")
    assert embedder.backbone.num_layers == layer
    ours = load_pretrained(preset)
    (expected,) = embed_texts(ours.backbone, ours.tokenizer, TEXTS, layers=[layer], pooling=pooling)
    if settings.get("normalize", True):
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert embedder.preprocessor.sequence_length == POSITIONS
    np.testing.assert_allclose(embedder(embedder.preprocessor(TEXTS)), expected, rtol=0, atol=1e-5)
    assert load_pretrained(tmp_path / "embedder").info.universal_layer == layer
