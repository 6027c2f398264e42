"""An array that a loop (`ops.fori_loop`) fills chunk by chunk, from its end, without copies of the whole.

All chunks have one size. Where it does not divide the array, the last chunk, which comes first, begins within the one
before it; what it has there is replaced.

`keras.ops.slice_update` copies the whole outside of what XLA compiles. On TensorFlow it is moreover an operation of
XLA, which TensorFlow's build for TPUs (`tensorflow-tpu`) cannot run on the host.
"""

from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor


def empty_array(rows: int, size: int, shape: tuple[int, ...] = ()) -> Any:
    """What the loop carries: room for float32 [rows, *shape], `size` rows a chunk; each chunk must be set once."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.TensorArray("float32", size=-(-rows // size), element_shape=(size, *shape))
    return ops.zeros((rows, *shape), "float32")


def set_chunk(array: Any, index: int | Tensor, start: int | Tensor, values: Tensor) -> Any:
    """`array` with `values`, float32 [size, *shape], from row `start` on; use `array` itself no more.

    Args:
        array: what the loop carries.
        index: int or int32 scalar, the chunk's number; the largest must come first, and 0 last.
        start: int or int32 scalar, the chunk's first row: index * size, in the last chunk rows - size.
        values: float32 [size, *shape].
    """
    if keras.backend.backend() == "tensorflow":
        return array.write(index, values)
    return ops.slice_update(array, (start, *(0 for _ in values.shape[1:])), values)


def whole_array(array: Any, rows: int) -> Tensor:
    """float32 [rows, *shape] once all chunks are set."""
    if keras.backend.backend() != "tensorflow":
        return array
    chunks = array.stack()
    number, size, *shape = chunks.shape
    repeated = number * size - rows
    if not repeated:
        return ops.reshape(chunks, (rows, *shape))
    return ops.concatenate([ops.reshape(chunks[:-1], (-1, *shape)), chunks[-1][repeated:]])
