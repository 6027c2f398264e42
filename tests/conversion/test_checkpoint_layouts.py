"""Checkpoints in the layouts that libraries write: wrappers, shared tensors, shards, added tokens, adapters."""

import json
import shutil

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import has_masked_lm_head, load_pretrained
from tiny_huggingface import POSITIONS, huggingface_model, random_ids, set_config, write_checkpoint

WORDS = "roberta.embeddings.word_embeddings.weight"


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    """(directory, transformers' model)."""
    directory = tmp_path_factory.mktemp("huggingface")
    return directory, write_checkpoint(directory, tokenizer)


@pytest.fixture(scope="module")
def expected(checkpoint):
    return load_pretrained(checkpoint[0])


@pytest.fixture
def copy(checkpoint, tmp_path):
    return shutil.copytree(checkpoint[0], tmp_path / "copy")


def rewrite(directory, change):
    """Replaces the tensors of a checkpoint by what `change` makes of them."""
    path = directory / "model.safetensors"
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path, {"format": "pt"})


def assert_same_weights(model, expected):
    assert model.has_head == expected.has_head
    for one, other in zip(model.masked_lm.weights, expected.masked_lm.weights, strict=True):
        np.testing.assert_array_equal(one, other)


PREFIXES = [
    "module.",
    "_orig_mod.",
    "model.",
    "encoder.",
    "transformer.",
    "base_model.model.",
    "module._orig_mod.",
    "state_dict.student.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_names_of_wrappers(prefix, copy, expected):
    rewrite(copy, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    assert_same_weights(load_pretrained(copy), expected)
    assert has_masked_lm_head(copy)


@pytest.mark.parametrize("prefix", ["encoder.", "model.encoder.", "transformer.", "xlm_roberta."])
def test_another_name_of_the_encoder_beside_the_head(prefix, copy, expected):
    def change(tensors):
        return {name.replace("roberta.", prefix): tensor for name, tensor in tensors.items()}

    rewrite(copy, change)
    assert_same_weights(load_pretrained(copy), expected)


def test_what_torch_compile_and_data_parallel_save(checkpoint, tokenizer, expected, tmp_path):
    """As their state dicts are, tied tensors included."""
    import safetensors.torch
    import torch

    for name, wrap in {"compiled": torch.compile, "parallel": torch.nn.DataParallel}.items():
        directory = shutil.copytree(checkpoint[0], tmp_path / name)
        state = {key: value.clone() for key, value in wrap(checkpoint[1]).state_dict().items()}
        assert "roberta" not in next(iter(state)).split(".")[0] and any(
            key.endswith("decoder.weight") for key in state
        )
        safetensors.torch.save_file(state, directory / "model.safetensors")
        assert_same_weights(load_pretrained(directory), expected)


def test_shared_tensors_under_one_of_their_names(checkpoint, copy, expected):
    """safetensors stores each once, here under the head's name."""
    import safetensors.torch

    safetensors.torch.save_model(checkpoint[1], str(copy / "model.safetensors"))
    with safetensors.safe_open(copy / "model.safetensors", "np") as file:
        assert WORDS not in file.keys() and "lm_head.decoder.weight" in file.keys()
    assert_same_weights(load_pretrained(copy), expected)


def test_twins_that_differ(copy):
    rewrite(copy, lambda tensors: tensors | {"lm_head.decoder.bias": tensors["lm_head.bias"] + 1})
    with pytest.raises(InputError, match=r"lm_head\.(decoder\.)?bias and lm_head\.(decoder\.)?bias differ"):
        load_pretrained(copy)


def test_buffers_are_passed_over(copy, expected, capsys):
    buffers = {
        "roberta.embeddings.position_ids": np.arange(POSITIONS + 2)[None],
        "roberta.embeddings.token_type_ids": np.zeros((1, POSITIONS + 2), np.int64),
    }
    rewrite(copy, lambda tensors: tensors | buffers)
    assert_same_weights(load_pretrained(copy), expected)
    assert "left out" not in capsys.readouterr().out


def test_shards_without_their_index(checkpoint, tokenizer, expected, tmp_path):
    write_checkpoint(tmp_path, tokenizer, checkpoint[1], max_shard_size="16KB")
    (tmp_path / "model.safetensors.index.json").unlink()
    assert_same_weights(load_pretrained(tmp_path), expected)
    sorted(tmp_path.glob("model-*.safetensors"))[1].unlink()
    with pytest.raises(InputError, match="some are missing"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("architecture", ["SequenceClassification", "TokenClassification", "QuestionAnswering"])
def test_other_heads_are_named(architecture, tokenizer, tmp_path, capsys):
    model = huggingface_model(tokenizer.vocabulary_size, f"XLMRobertaFor{architecture}")
    write_checkpoint(tmp_path, tokenizer, model)
    loaded = load_pretrained(tmp_path)
    assert not loaded.has_head
    np.testing.assert_array_equal(
        loaded.backbone.token_embedding.embeddings, model.get_input_embeddings().weight.detach()
    )
    output = capsys.readouterr().out
    for name in model.state_dict():
        assert name.startswith("roberta.") or name in output


# === Tokens that were added ===


@pytest.fixture(scope="module")
def full(checkpoint, tmp_path_factory):
    """`checkpoint` with all files of transformers' tokenizer."""
    from infoxlm_keras.exporting.convert import convert_checkpoint

    directory = tmp_path_factory.mktemp("full") / "hf"
    convert_checkpoint(checkpoint[0], directory, "hf")
    return directory


@pytest.mark.parametrize("with_model", [False, True], ids=["tokenizer.json alone", "beside the SentencePiece file"])
def test_added_tokens_are_named_and_the_advice_works(with_model, full, tokenizer, expected, tmp_path):
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(full)
    model = transformers.AutoModelForMaskedLM.from_pretrained(full)
    theirs.add_tokens(["<url>", "newword"])
    model.resize_token_embeddings(len(theirs))
    model.save_pretrained(tmp_path / "added")
    theirs.save_pretrained(tmp_path / "added")
    if with_model:
        shutil.copy(full / "sentencepiece.bpe.model", tmp_path / "added")
    with pytest.raises(InputError) as error:
        load_pretrained(tmp_path / "added")
    for words in ("adds 2 tokens", "'<url>', 'newword'", "model.resize_token_embeddings(256)"):
        assert words in str(error.value)
    model = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "added")
    model.resize_token_embeddings(256)
    model.save_pretrained(tmp_path / "again")
    transformers.AutoTokenizer.from_pretrained(full).save_pretrained(tmp_path / "again")
    assert_same_weights(load_pretrained(tmp_path / "again"), expected)


def test_the_file_of_slow_tokenizers(copy):
    (copy / "added_tokens.json").write_text('{"<url>": 256, "<mask>": 255}')
    with pytest.raises(InputError, match=r"added_tokens\.json: adds 1 tokens to the tokenizer: '<url>'"):
        load_pretrained(copy)


def test_an_embedding_filled_up_to_a_round_number(checkpoint, tokenizer, expected, tmp_path, capsys):
    import transformers

    model = transformers.AutoModelForMaskedLM.from_pretrained(checkpoint[0])
    model.resize_token_embeddings(258, pad_to_multiple_of=64)
    assert model.config.vocab_size == 320
    write_checkpoint(tmp_path, tokenizer, model)
    loaded = load_pretrained(tmp_path)
    assert_same_weights(loaded, expected)
    assert "the last 64 rows" in capsys.readouterr().out
    token_ids, _ = random_ids(tokenizer.vocabulary_size)
    assert token_ids.max() < loaded.backbone.vocabulary_size


def test_a_tokenizer_of_another_model(tokenizer, tmp_path):
    write_checkpoint(tmp_path, tokenizer, huggingface_model(301))
    with pytest.raises(InputError, match="256 ids, its embedding 301 rows"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["another order", "fewer pieces"])
def test_two_tokenizers_in_one_folder(kind, full, tmp_path):
    """transformers reads tokenizer.json, we the SentencePiece file: they must be one."""
    shutil.copytree(full, tmp_path / "hf")
    load_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    if kind == "another order":
        vocabulary[20], vocabulary[21] = vocabulary[21], vocabulary[20]
    else:
        del vocabulary[20]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"tokenizer\.json: belongs to another tokenizer than .* for id 20"):
        load_pretrained(tmp_path / "hf")
    path.write_text('{"model": 5}')
    with pytest.raises(InputError, match="holds no vocabulary"):
        load_pretrained(tmp_path / "hf")


# === What is no whole encoder ===


def _adapter(tensors):
    name = "roberta.encoder.layer.0.attention.self.query."
    weight = tensors.pop(f"{name}weight")
    return tensors | {f"{name}base_layer.weight": weight, f"{name}lora_A.default.weight": weight[:2].copy()}


def _two_encoders(tensors):
    return tensors | {f"key_encoder.{name}": tensor for name, tensor in tensors.items()}


def _nothing(tensors):
    return {f"layer{number}.weight": np.zeros(3, np.float32) for number in range(5)}


REFUSED = {
    "adapter": (_adapter, ["query.", "merge_and_unload()"]),
    "two encoders": (_two_encoders, ["2 encoders", "'key_encoder.roberta.'", "'roberta.'"]),
    "another model": (_nothing, ["5 tensors", "layer0.weight, layer1.weight", "no complete XLM-R encoder"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, copy):
    change, words = REFUSED[case]
    rewrite(copy, change)
    with pytest.raises(InputError) as error:
        load_pretrained(copy)
    for word in words:
        assert word in str(error.value)


def test_an_adapter_alone(copy):
    (copy / "model.safetensors").rename(copy / "adapter_model.safetensors")
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="adapter of PEFT"):
        load_pretrained(copy)
    (copy / "config.json").unlink()
    with pytest.raises(InputError, match="adapter of PEFT"):
        load_pretrained(copy)


def test_weights_under_another_name(copy):
    (copy / "model.safetensors").rename(copy / "model.fp16.safetensors")
    with pytest.raises(InputError, match=r"holds model\.fp16\.safetensors, but no model\.safetensors"):
        load_pretrained(copy)


def test_a_tied_head_that_says_it_is_not(copy, expected):
    set_config(copy, tie_word_embeddings=False)
    rewrite(copy, lambda tensors: tensors | {"lm_head.decoder.weight": tensors[WORDS].copy()})
    assert_same_weights(load_pretrained(copy), expected)
