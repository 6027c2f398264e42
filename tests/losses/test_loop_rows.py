"""Rows that a loop fills, against a plain array; `tests/training/test_backends.py` has them on all backends."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from infoxlm_keras.losses.loop_rows import empty_rows, set_row, stacked_rows


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_rows_are_where_they_were_put(shape, compiled):
    values = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)

    def fill(values):
        start = (ops.zeros(shape), empty_rows(5, shape))
        body = lambda index, carry: (carry[0] + values[index], set_row(carry[1], 4 - index, values[index]))  # noqa: E731
        total, rows = ops.fori_loop(0, 5, body, start)
        return total, stacked_rows(rows)

    total, rows = tf.function(fill, jit_compile=compiled)(tf.constant(values))
    np.testing.assert_array_equal(rows, values[::-1])
    np.testing.assert_allclose(total, values.sum(axis=0), rtol=1e-5)
