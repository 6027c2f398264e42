"""From the files of transformers to ours."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import TextEmbedder
from infoxlm_keras.models import hidden_states_model
from infoxlm_keras.pretrained import load_pretrained
from sample_text import multilingual_sentences
from tiny_huggingface import (
    LAYERS,
    POSITIONS,
    huggingface_logits,
    huggingface_model,
    our_logits,
    random_ids,
    set_config,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    """(directory, transformers' model)."""
    directory = tmp_path_factory.mktemp("huggingface")
    return directory, write_checkpoint(directory, tokenizer)


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return load_pretrained(checkpoint[0])


@pytest.fixture
def copy(checkpoint, tmp_path):
    """A copy of the checkpoint's directory, to damage."""
    return shutil.copytree(checkpoint[0], tmp_path / "copy")


def test_logits_equal_transformers(checkpoint, loaded):
    token_ids, mask = random_ids(loaded.tokenizer.vocabulary_size)
    expected = huggingface_logits(checkpoint[1], token_ids, mask)
    actual = our_logits(loaded.masked_lm, token_ids, mask)
    used = mask.astype(bool)
    assert np.abs(expected[used]).max() > 1
    np.testing.assert_allclose(actual[used], expected[used], rtol=0, atol=1e-5)
    assert loaded.has_head and loaded.info is None


def test_every_hidden_state_equals_transformers(checkpoint, loaded):
    import torch

    token_ids, mask = random_ids(loaded.tokenizer.vocabulary_size)
    with torch.no_grad():
        output = checkpoint[1].roberta(
            torch.tensor(token_ids), attention_mask=torch.tensor(mask), output_hidden_states=True
        )
    inputs = {"token_ids": token_ids.astype("int32"), "padding_mask": mask.astype("int32")}
    states = hidden_states_model(loaded.backbone)(inputs)
    assert len(states) == len(output.hidden_states) == LAYERS + 1
    used = mask.astype(bool)
    for ours, theirs in zip(states, output.hidden_states, strict=True):
        np.testing.assert_allclose(np.asarray(ours)[used], theirs.numpy()[used], rtol=0, atol=1e-5)


def test_padding_changes_nothing(loaded):
    token_ids, mask = random_ids(loaded.tokenizer.vocabulary_size, lengths=(7, 7))
    longer_ids = np.pad(token_ids, ((0, 0), (0, 20)), constant_values=1)
    longer_mask = np.pad(mask, ((0, 0), (0, 20)))
    expected = our_logits(loaded.masked_lm, token_ids, mask)
    actual = our_logits(loaded.masked_lm, longer_ids, longer_mask)[:, :7]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def test_all_positions_pass_and_one_more_is_an_error(checkpoint, loaded):
    assert loaded.backbone.max_sequence_length == POSITIONS
    token_ids, mask = random_ids(loaded.tokenizer.vocabulary_size, lengths=(POSITIONS,))
    expected = huggingface_logits(checkpoint[1], token_ids, mask)
    np.testing.assert_allclose(our_logits(loaded.masked_lm, token_ids, mask), expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match=f"max_length = {POSITIONS + 1}: must be in 3..{POSITIONS}"):
        TextEmbedder(loaded.backbone, loaded.tokenizer, max_length=POSITIONS + 1)
    token_ids, mask = random_ids(loaded.tokenizer.vocabulary_size, lengths=(POSITIONS + 1,))
    with pytest.raises(Exception, match=str(POSITIONS)):
        our_logits(loaded.masked_lm, token_ids, mask)


def test_shards_give_the_same_weights(checkpoint, loaded, tokenizer, tmp_path):
    write_checkpoint(tmp_path, tokenizer, checkpoint[1], max_shard_size="8KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    for one, other in zip(load_pretrained(tmp_path).masked_lm.weights, loaded.masked_lm.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_half_precision_files_are_read_exactly(checkpoint, tokenizer, tmp_path):
    import copy

    import torch

    model = copy.deepcopy(checkpoint[1]).to(torch.bfloat16)
    write_checkpoint(tmp_path, tokenizer, model)
    embeddings = np.asarray(load_pretrained(tmp_path).backbone.token_embedding.embeddings)
    expected = model.get_input_embeddings().weight.detach().float().numpy()
    np.testing.assert_array_equal(embeddings, expected)


def test_an_encoder_without_head(checkpoint, tokenizer, tmp_path):
    """Names have no prefix then; the pooler is nothing of ours."""
    model = huggingface_model(tokenizer.vocabulary_size, "XLMRobertaModel")
    write_checkpoint(tmp_path, tokenizer, model)
    loaded = load_pretrained(tmp_path)
    assert not loaded.has_head
    embeddings = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(loaded.backbone.token_embedding.embeddings, embeddings)


def test_names_of_older_releases(copy, loaded):
    """Norms named gamma and beta, the head's bias named after the decoder, the decoder stored beside the embedding."""
    tensors = safetensors.numpy.load_file(copy / "model.safetensors")
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in tensors.items()
    }
    renamed["lm_head.decoder.bias"] = renamed.pop("lm_head.bias")
    renamed["lm_head.decoder.weight"] = renamed["roberta.embeddings.word_embeddings.weight"].copy()
    renamed["roberta.embeddings.position_ids"] = np.arange(POSITIONS + 2)[None]
    safetensors.numpy.save_file(renamed, copy / "model.safetensors")
    for one, other in zip(load_pretrained(copy).masked_lm.weights, loaded.masked_lm.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_head_is_named_and_left_out(tokenizer, tmp_path, capsys):
    model = huggingface_model(tokenizer.vocabulary_size, "XLMRobertaForSequenceClassification")
    write_checkpoint(tmp_path, tokenizer, model)
    assert not load_pretrained(tmp_path).has_head
    assert "classifier.dense.bias" in capsys.readouterr().out


def test_a_tokenizer_json_alone_gives_the_same_ids(checkpoint, copy, tokenizer):
    from infoxlm_keras.conversion.tokenizer_json import to_tokenizer_json

    (copy / "sentencepiece.bpe.model").unlink()
    (copy / "tokenizer.json").write_text(json.dumps(to_tokenizer_json(tokenizer)))
    rebuilt = load_tokenizer(copy)
    lines = [*multilingual_sentences(30), "", " a  b ", "日本語 ＡＢ ﬁ 🙂", "\u2028x\ty", "</s> <mask>"]
    assert rebuilt.encode(lines) == tokenizer.encode(lines)
    assert load_pretrained(copy).tokenizer.vocabulary_size == tokenizer.vocabulary_size


# What is done to a good checkpoint, and what the message must name.
def _remove_tensor(directory, name):
    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    del tensors[name]
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")


def _add_tensor(directory, name, shape=(2, 2), dtype=np.float32):
    tensors = safetensors.numpy.load_file(directory / "model.safetensors")
    tensors[name] = np.ones(shape, dtype)
    safetensors.numpy.save_file(tensors, directory / "model.safetensors")


def _pickle_only(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def _index(directory, content):
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps(content))


def _truncate(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


REFUSED = {
    "model type": (lambda d: set_config(d, model_type="bert"), ["config.json", "model_type = 'bert'", "xlm-roberta"]),
    "pad id": (lambda d: set_config(d, pad_token_id=0), ["pad_token_id = 0", "1 only"]),
    "activation": (lambda d: set_config(d, hidden_act="gelu_new"), ["hidden_act = 'gelu_new'", "'gelu' only"]),
    "epsilon": (
        lambda d: set_config(d, layer_norm_eps=1e-12),
        ["layer_norm_eps = 1e-12", "1e-05 only", "write 1e-05 into a copy"],
    ),
    "no epsilon": (lambda d: set_config(d, layer_norm_eps=...), ["layer_norm_eps = 1e-12 (the default)"]),
    "relative positions": (
        lambda d: set_config(d, position_embedding_type="relative_key"),
        ["position_embedding_type = 'relative_key'", "'absolute' only"],
    ),
    "decoder": (lambda d: set_config(d, is_decoder=True), ["is_decoder = True"]),
    "quantized": (lambda d: set_config(d, quantization_config={"bits": 4}), ["quantization_config = {'bits': 4}"]),
    "no size": (lambda d: set_config(d, hidden_size=...), ["hidden_size = None", "whole number"]),
    "text for a size": (lambda d: set_config(d, num_hidden_layers="3"), ["num_hidden_layers = '3'"]),
    "few positions": (lambda d: set_config(d, max_position_embeddings=2), ["max_position_embeddings = 2", "3"]),
    "heads": (lambda d: set_config(d, num_attention_heads=3), ["num_attention_heads = 3", "hidden_size = 16"]),
    "positions": (
        lambda d: set_config(d, max_position_embeddings=514),
        ["position_embeddings", "(66, 16)", "(514, 16)"],
    ),
    "width": (lambda d: set_config(d, intermediate_size=64), ["intermediate.dense.weight", "(32, 16)", "(64, 16)"]),
    "vocabulary": (lambda d: set_config(d, vocab_size=300), ["word_embeddings", "(256, 16)", "(300, 16)"]),
    "too few layers": (lambda d: set_config(d, num_hidden_layers=2), ["encoder.layer.2.", "not compute the same"]),
    "too many layers": (lambda d: set_config(d, num_hidden_layers=4), ["encoder.layer.3.", "not whole"]),
    "neither": (lambda d: set_config(d, model_type=...), ["config.json", "registered_name", "model_type"]),
    "broken json": (lambda d: (d / "config.json").write_text("{"), ["config.json", "not valid JSON", "line 1"]),
    "no config": (lambda d: (d / "config.json").unlink(), ["no config.json"]),
    "missing tensor": (
        lambda d: _remove_tensor(d, "roberta.encoder.layer.1.output.dense.bias"),
        ["no tensor encoder.layer.1.output.dense.bias", "not whole"],
    ),
    "half a head": (lambda d: _remove_tensor(d, "lm_head.dense.bias"), ["lm_head.dense.bias"]),
    "an adapter": (lambda d: _add_tensor(d, "roberta.encoder.layer.0.adapter.weight"), ["layer.0.adapter.weight"]),
    "untied": (lambda d: _add_tensor(d, "lm_head.decoder.weight", (256, 16)), ["lm_head.decoder.weight", "tied"]),
    "integers": (
        lambda d: _add_tensor(d, "roberta.encoder.layer.0.output.dense.weight", (16, 32), np.int8),
        ["output.dense.weight", "dtype I8", "quantized"],
    ),
    "pickle only": (
        _pickle_only,
        ["pickled weights only (pytorch_model.bin)", "weights_only=True", "model.safetensors", "cd {copy}"],
    ),
    "no weights": (
        lambda d: (d / "model.safetensors").unlink(),
        ["no model.safetensors", "fetch pytorch_model.bin", "weights_only=True"],
    ),
    "cut off": (_truncate, ["model.safetensors", "not an intact safetensors file", "fetch it again"]),
    "no weight map": (lambda d: _index(d, {}), ["index.json", "weight_map"]),
    "missing shard": (
        lambda d: _index(d, {"weight_map": {"a": "model-00001-of-00002.safetensors"}}),
        ["model-00001-of-00002.safetensors: no such file"],
    ),
    "shard elsewhere": (lambda d: _index(d, {"weight_map": {"a": "../a.safetensors"}}), ["'../a.safetensors'"]),
    "no tokenizer": (lambda d: (d / "sentencepiece.bpe.model").unlink(), ["holds no tokenizer"]),
    "another tokenizer.json": (
        lambda d: (
            (d / "sentencepiece.bpe.model").unlink(),
            (d / "tokenizer.json").write_text('{"model": {"type": "BPE"}}'),
        ),
        ["tokenizer.json", "'BPE'", "sentencepiece.bpe.model"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, copy):
    damage, words = REFUSED[case]
    damage(copy)
    with pytest.raises(InputError) as error:
        load_pretrained(copy)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word.replace("{copy}", str(copy)) in message


def test_the_command_for_a_pickle_does_what_it_says(checkpoint, copy, tmp_path, monkeypatch):
    """Run as the message gives it, it makes a checkpoint of the same weights."""
    import shlex
    import subprocess
    import sys

    import torch

    (copy / "model.safetensors").unlink()
    torch.save(checkpoint[1].state_dict(), copy / "pytorch_model.bin")
    with pytest.raises(InputError) as error:
        load_pretrained(copy)
    command = str(error.value).partition("&& ")[2]
    program = shlex.split(command)
    assert program[:2] == ["python", "-c"]
    subprocess.run([sys.executable, *program[1:]], cwd=copy, check=True)
    loaded = load_pretrained(copy)
    expected = checkpoint[1].lm_head.dense.weight.detach().numpy()
    np.testing.assert_array_equal(loaded.masked_lm.masked_lm_head._intermediate_dense.kernel, expected.T)
