"""The LiteRT file against NumPy's vectors."""

import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting import to_litert
from infoxlm_keras.exporting.to_litert import export_litert, litert_embedder
from infoxlm_keras.exporting.to_onnx import export_onnx, onnx_embedder
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import EmbeddingModule
from infoxlm_keras.serving.export import export_module
from tiny_export import DIM, TEXTS, expected_vectors, padded_ids


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.mark.parametrize(
    ("layer", "pooling", "normalize", "dim"), [(1, "mean", True, DIM), (2, "max", False, 5), (0, "cls", False, DIM)]
)
def test_vectors_are_those_of_numpy(model, tmp_path, layer, pooling, normalize, dim):
    exported = export_litert(model, tmp_path / "run[1]" / "litert", layer, pooling, normalize, dimensions=dim)
    assert 0 <= exported.max_difference < 1e-5
    embed = litert_embedder(exported.directory / "model.tflite")
    vectors = embed(*padded_ids(model.tokenizer, TEXTS))
    expected = expected_vectors(model, TEXTS, layer, pooling, normalize)[:, :dim]
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embed(*padded_ids(model.tokenizer, [text]))[0], vector, rtol=1e-5, atol=1e-5)
    names = {path.name for path in exported.directory.iterdir()}
    assert {"model.tflite", "infoxlm.json", "tokenizer.json", "sentencepiece.bpe.model"} <= names


def test_int8_points_the_same_way_alone_or_in_a_batch(model, tmp_path):
    small = export_litert(model, tmp_path / "litert", precision="int8")
    assert small.facts["precision"] == "int8"
    embed = litert_embedder(small.directory / "model.tflite")
    vectors = embed(*padded_ids(model.tokenizer, TEXTS))
    assert (vectors * expected_vectors(model, TEXTS, 1, "mean")).sum(axis=1).min() > 0.995
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embed(*padded_ids(model.tokenizer, [text]))[0], vector, rtol=0, atol=1e-6)
    assert small.size == (small.directory / "model.tflite").stat().st_size


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_any_mask_gives_what_the_other_exports_give(model, tmp_path, pooling):
    """Padding at the end, in front, between, and a row without a token; positions count from the left in all three."""
    token_ids = np.array([[0, 7, 9, 2, 1], [1, 1, 7, 9, 2], [0, 7, 1, 9, 2], [1, 1, 1, 1, 1]], np.int32)
    padding_mask = (token_ids != 1).astype(np.int32)
    lite = litert_embedder(export_litert(model, tmp_path / "litert", pooling=pooling).directory / "model.tflite")
    onnx = onnx_embedder(export_onnx(model, tmp_path / "onnx", pooling=pooling).directory / "onnx" / "model.onnx")
    saved = export_module(EmbeddingModule(model, pooling=pooling), tmp_path / "saved" / "1", verify=False)
    tokens = tf.saved_model.load(str(saved.directory)).signatures["tokens"]
    expected = tokens(token_ids=tf.constant(token_ids), padding_mask=tf.constant(padding_mask))["embedding"].numpy()
    for embed in (lite, onnx):
        np.testing.assert_allclose(embed(token_ids, padding_mask), expected, rtol=1e-5, atol=1e-5)
    # The row without a token, and with "cls" the one whose first place is padding.
    zero = [False, pooling == "cls", False, True]
    assert (np.linalg.norm(expected, axis=1) < 0.5).tolist() == zero and (expected[zero] == 0).all()
    assert pooling == "cls" or np.abs(expected[1] - expected[0]).max() > 1e-3


def test_the_tokenizers_limit_is_the_exports(model, tmp_path):
    exported = export_litert(model, tmp_path / "litert", max_length=20)
    config = json.loads((exported.directory / "tokenizer_config.json").read_text())
    assert config["model_max_length"] == exported.facts["max_length"] == 20


def test_wrong_vectors_leave_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(to_litert, "litert_embedder", lambda path: lambda ids, mask: np.zeros((len(ids), DIM)))
    with pytest.raises(RuntimeError, match="model.tflite: its vectors differ from the Keras model's"):
        export_litert(model, tmp_path / "litert")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_is_refused(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="precision = 'int4'"):
        export_litert(model, tmp_path / "litert", precision="int4")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match=r"needs ai_edge_litert.interpreter: .*infoxlm_keras\[litert\]"):
        export_litert(model, tmp_path / "litert")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND = jax: LiteRT files"):
        export_litert(model, tmp_path / "litert")
    assert list(tmp_path.iterdir()) == []
