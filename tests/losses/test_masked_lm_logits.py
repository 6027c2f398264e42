"""Vocabulary logits at masked positions: KerasHub's head's, by a product in the compute dtype."""

import keras
import numpy as np
import pytest
from keras import ops

from infoxlm_keras.losses.masked_lm import masked_lm_logits
from tiny_pretraining import TWO_LAYERS, array, tiny_masked_lm

POSITIONS = np.array([[0, 3, 5], [2, 2, 0]], "int32")


@pytest.mark.parametrize(
    ("dtype", "compute_dtype", "tolerance"),
    [("float32", "float32", 1e-5), ("mixed_bfloat16", "bfloat16", 0.05), ("mixed_float16", "float16", 0.01)],
)
def test_logits_are_those_of_keras_hubs_head(monkeypatch, dtype, compute_dtype, tolerance):
    masked_lm = tiny_masked_lm(TWO_LAYERS, dtype=dtype)
    pieces, dim = masked_lm.backbone.token_embedding.embeddings.shape
    states = ops.cast(np.random.default_rng(0).normal(size=(2, 7, dim)), compute_dtype)
    expected = array(ops.cast(masked_lm.masked_lm_head(states, POSITIONS), "float32"))
    plain, products = keras.ops.matmul, []

    def matmul(one, other):
        products.append((keras.backend.standardize_dtype(one.dtype), keras.backend.standardize_dtype(other.dtype)))
        return plain(one, other)

    monkeypatch.setattr(keras.ops, "matmul", matmul)
    found = masked_lm_logits(masked_lm, states, POSITIONS)
    assert products == [(compute_dtype, compute_dtype)]
    assert found.shape == (6, pieces) and keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(array(found), expected.reshape(6, pieces), rtol=tolerance, atol=tolerance)
