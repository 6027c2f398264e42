"""Chunks that a loop fills, against a plain array; `tests/training/test_backends.py` has them on JAX, too."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from infoxlm_keras.losses.loop_chunks import empty_array, set_chunk, whole_array


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize(("rows", "size"), [(12, 4), (11, 4), (9, 4), (5, 5), (6, 5), (3, 1)])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_chunks_are_where_they_were_put(shape, rows, size, compiled):
    values = np.random.default_rng(0).normal(size=(rows, *shape)).astype(np.float32)
    number = -(-rows // size)

    def fill(values):
        def body(step, carry):
            index = number - 1 - step
            start = ops.minimum(index * size, rows - size)
            chunk = ops.slice(values, (start, *(0 for _ in shape)), (size, *shape))
            # What only the last chunk repeats is replaced by the one before it.
            own = ops.reshape(start + ops.arange(size) >= index * size, (size, *(1 for _ in shape)))
            return carry[0] + ops.sum(ops.where(own, chunk, 0), axis=0), set_chunk(
                carry[1], index, start, ops.where(own, chunk, 7.0)
            )

        total, array = ops.fori_loop(0, number, body, (ops.zeros(shape), empty_array(rows, size, shape)))
        return total, whole_array(array, rows)

    total, array = tf.function(fill, jit_compile=compiled)(tf.constant(values))
    np.testing.assert_array_equal(array, values)
    np.testing.assert_allclose(total, values.sum(axis=0), rtol=1e-5, atol=1e-5)
