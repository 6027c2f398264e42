"""Fewer layers: what stays has equal weights, and the vector of a layer below all that was dropped is the same."""

import json

import numpy as np
import pytest

from infoxlm_keras.commands import convert_checkpoint, drop_layers, export_savedmodel
from infoxlm_keras.models import EncoderSize, build_masked_lm, hidden_states_model
from infoxlm_keras.models.layer_dropping import hidden_state_below, layers_to_keep
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.pretrained.saving import write_preset
from running import refused, run
from sample_text import multilingual_sentences
from tiny_pretraining import randomize

FOUR_LAYERS = EncoderSize(num_layers=4, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
TEXTS = multilingual_sentences(4)


@pytest.fixture(scope="module")
def preset(tokenizer, tmp_path_factory):
    """A preset of 4 layers, trained by contrast on hidden state 2."""
    directory = tmp_path_factory.mktemp("deep") / "model"
    masked_lm = build_masked_lm(FOUR_LAYERS, tokenizer.vocabulary_size, dropout=0.1)
    randomize(masked_lm.weights)
    info = PretrainingInfo(universal_layer=2, steps=3, tasks=["xlco"], tokenizer_fingerprint=tokenizer.fingerprint)
    save_pretrained(directory, masked_lm, tokenizer, info)
    return directory


def smaller(preset, directory, *options):
    run(drop_layers.main, "--model", preset, "--output_dir", directory, *options)
    return load_pretrained(directory), json.loads((directory / "layer_dropping.json").read_text())


def weights_of(layers):
    return [np.asarray(weight) for layer in layers for weight in layer.weights]


@pytest.mark.parametrize("layers", [2, 3])
def test_the_vector_of_a_layer_that_stays_with_all_below_is_the_same(preset, tmp_path, layers):
    model, report = smaller(preset, tmp_path / "model", "--layers", layers, "--strategy", "top")
    old = load_pretrained(preset)
    np.testing.assert_array_equal(model.encode(TEXTS), old.encode(TEXTS))
    for layer in range(layers + 1):
        np.testing.assert_array_equal(model.encode(TEXTS, layer=layer), old.encode(TEXTS, layer=layer))
    assert report["universal_layer"] == {"old": 2, "new": 2, "comes_from": 2}
    assert report["model"] == model_digest(old) != model_digest(model)


@pytest.mark.parametrize(
    ("options", "kept", "universal"),
    [
        (["--layers", 3], [1, 3, 4], 1),
        (["--layers", 2, "--strategy", "even"], [1, 4], 1),
        (["--layers", 3, "--strategy", "bottom"], [2, 3, 4], 1),
        (["--keep", "1,2,4"], [1, 2, 4], 2),
        (["--keep", "3,4"], [3, 4], 1),
    ],
)
def test_kept_layers_have_their_weights_and_the_history_says_which(preset, tmp_path, options, kept, universal, capsys):
    model, report = smaller(preset, tmp_path / "model", *options)
    old = load_pretrained(preset)
    assert report["layers"] == {"old": 4, "kept": kept} and model.backbone.num_layers == len(kept)
    pairs = [
        (model.backbone.transformer_layers, [old.backbone.transformer_layers[layer - 1] for layer in kept]),
        *(([getattr(m.backbone, name)] for m in (model, old)) for name in ("embeddings", "embeddings_layer_norm")),
        ([model.masked_lm.masked_lm_head], [old.masked_lm.masked_lm_head]),
    ]
    compared = 0
    for new_part, old_part in pairs:
        for one, other in zip(weights_of(new_part), weights_of(old_part), strict=True):
            np.testing.assert_array_equal(one, other)
            compared += 1
    assert compared >= len(model.masked_lm.weights)
    assert (model.info.universal_layer, model.info.kept_layers) == (universal, kept)
    assert (model.info.steps, model.info.tasks, model.info.pooling) == (3, ["xlco"], old.info.pooling)
    assert report["weights"] == {"old": old.masked_lm.count_params(), "new": model.masked_lm.count_params()}
    changed = kept[universal - 1] != 2
    assert ("the sentence vector was that of layer 2 and is now that of layer" in capsys.readouterr().out) == changed


def test_a_smaller_model_is_converted_exported_and_made_smaller_again(preset, tmp_path, forked_verification):
    import tensorflow as tf
    import torch
    import transformers

    model, _ = smaller(preset, tmp_path / "three", "--keep", "1,2,4")
    run(convert_checkpoint.main, "--from", tmp_path / "three", "--to", tmp_path / "hf", "--format", "hf")
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "hf").eval()
    token_ids = np.array([[0, *model.tokenizer.encode(TEXTS[0]), 2]], np.int32)
    with torch.no_grad():
        expected = theirs(torch.tensor(token_ids), output_hidden_states=True).hidden_states
    states = hidden_states_model(model.backbone)({"token_ids": token_ids, "padding_mask": np.ones_like(token_ids)})
    assert len(states) == len(expected) == 4
    for one, other in zip(states, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one), other.numpy(), atol=1e-5)
    run(export_savedmodel.main, "--model", tmp_path / "three", "--output_dir", tmp_path / "serving")
    embed = tf.saved_model.load(str(tmp_path / "serving" / "1")).signatures["serving_default"]
    np.testing.assert_allclose(embed(text=tf.constant(TEXTS))["embedding"], model.encode(TEXTS), atol=1e-5)
    again, _ = smaller(tmp_path / "three", tmp_path / "two", "--keep", "2,3")
    assert again.info.kept_layers == [2, 4] and again.info.universal_layer == 1


def test_an_encoder_without_head_or_history_keeps_what_it_is(preset, tmp_path):
    old = load_pretrained(preset)
    (tmp_path / "bare").mkdir()
    write_preset(tmp_path / "bare", PretrainedModel(old.masked_lm, old.tokenizer, None, has_head=False))
    model, report = smaller(tmp_path / "bare", tmp_path / "model", "--layers", 2, "--strategy", "top")
    assert not model.has_head and model.info.tasks == []
    # Two thirds of 4 layers, of which the second is the last one left.
    assert report["universal_layer"] == {"old": 3, "new": 2, "comes_from": 2}


def test_which_layers_are_kept():
    """Literals; the first and the last are among evenly spaced ones, whose gaps differ by 1 at most."""
    assert layers_to_keep(12, 6) == [1, 3, 5, 8, 10, 12]
    assert layers_to_keep(12, 4) == [1, 5, 8, 12]
    assert layers_to_keep(12, 3) == [1, 7, 12]
    assert layers_to_keep(12, 1) == [1]
    assert layers_to_keep(12, 3, "top") == [1, 2, 3] and layers_to_keep(12, 3, "bottom") == [10, 11, 12]
    for layers in range(2, 26):
        for kept in range(2, layers + 1):
            chosen = layers_to_keep(layers, kept)
            assert (len(chosen), chosen[0], chosen[-1]) == (kept, 1, layers)
            gaps = np.diff(chosen)
            assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1
    assert [hidden_state_below([2, 3, 7], state) for state in range(9)] == [0, 1, 1, 2, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", 5], "--layers 5: must be between 1 and the 4 layers of the model"),
        (["--layers", 0], "--layers 0: must be between 1 and the 4 layers of the model"),
        (["--keep", "1,5"], "--keep 1,5: give numbers between 1 and 4, ascending, each only once"),
        (["--keep", "2,1"], "--keep 2,1: give numbers between 1 and 4"),
        (["--keep", "1,1"], "--keep 1,1: give numbers between 1 and 4"),
        (["--keep", "0,1"], "--keep 0,1: give numbers between 1 and 4"),
        (["--keep", "1,b"], "--keep 1,b: write numbers of layers with commas between them"),
        (["--keep", "1,2", "--strategy", "top"], "--strategy top: belongs to --layers"),
        (["--layers", 2, "--model", "./missing"], "./missing: no such directory"),
    ],
)
def test_bad_input_is_refused(preset, tmp_path, options, message, capsys):
    flags = ["--model", preset, "--output_dir", tmp_path / "deep/out", *options]
    assert message in refused(capsys, drop_layers.main, *flags)
    assert not (tmp_path / "deep").exists()
