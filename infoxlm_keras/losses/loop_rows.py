"""An array that a loop (`ops.fori_loop`) fills row by row, without a copy of the whole at each row.

`keras.ops.slice_update` makes such a copy outside of what XLA compiles. On TensorFlow it is moreover an operation of
XLA, which TensorFlow's build for TPUs (`tensorflow-tpu`) cannot run on the host.
"""

from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor


def empty_rows(number: int, shape: tuple[int, ...]) -> Any:
    """What the loop carries: room for `number` float32 rows of `shape`; each must be set once."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.TensorArray("float32", size=number, element_shape=shape)
    return ops.zeros((number, *shape), "float32")


def set_row(rows: Any, index: int | Tensor, row: Tensor) -> Any:
    """`rows` with `row`, float32, at `index`, int or int32 scalar; use `rows` itself no more."""
    if keras.backend.backend() == "tensorflow":
        return rows.write(index, row)
    if keras.backend.backend() == "torch":
        rows[index] = row
        return rows
    return ops.slice_update(rows, (index, *(0 for _ in row.shape)), ops.expand_dims(row, 0))


def stacked_rows(rows: Any) -> Tensor:
    """float32 [number, *shape] once all are set."""
    return rows.stack() if keras.backend.backend() == "tensorflow" else rows
