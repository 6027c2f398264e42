"""The LiteRT file against NumPy's vectors."""

import sys

import keras
import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting import to_litert
from infoxlm_keras.exporting.to_litert import export_litert, litert_embedder
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from tiny_export import DIM, TEXTS, expected_vectors, padded_ids


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.mark.parametrize(("layer", "pooling", "normalize", "dim"), [(1, "mean", True, DIM), (2, "max", False, 5)])
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


def test_int8_points_the_same_way(model, tmp_path):
    small = export_litert(model, tmp_path / "litert", precision="int8")
    assert small.facts["precision"] == "int8"
    vectors = litert_embedder(small.directory / "model.tflite")(*padded_ids(model.tokenizer, TEXTS))
    assert (vectors * expected_vectors(model, TEXTS, 1, "mean")).sum(axis=1).min() > 0.995
    assert small.size == (small.directory / "model.tflite").stat().st_size


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
