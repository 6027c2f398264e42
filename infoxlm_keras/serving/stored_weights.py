"""The weights of a SavedModel: stored as float32 or in fewer bytes; arithmetic is always float32.

    float32    4 bytes a value, exact
    bfloat16   2 bytes, 8 bits of precision
    float16    2 bytes, 11 bits of precision
    int8       1 byte, symmetric, one float32 scale a channel (Jacob et al., 2018, with zero point 0): an output column
               of a matrix, a row of a table. Weights only: activations stay float32.

Vectors (biases, norms) take a thousandth of the space and are always float32.
"""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, Tensor
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import keras

STORAGES = ("float32", "bfloat16", "float16", "int8")
INT8_LARGEST = 127


class StoredMatrix(tf.Module):
    """A kernel [inputs, outputs] with its bias.

    Args:
        kernel: float array [inputs, outputs].
        bias: float array [outputs].
        storage: one of `STORAGES`.
        name: str.

    Raises:
        InputError: if the storage is unknown, or float16 cannot hold a value.
    """

    def __init__(self, kernel: Array, bias: Array, storage: str, name: str | None = None) -> None:
        super().__init__(name=name)
        values, scale = stored(kernel, storage, axis=0)
        self.kernel = tf.Variable(values, trainable=False, name="kernel")
        self.scale = None if scale is None else tf.Variable(scale, trainable=False, name="scale")
        self.bias = tf.Variable(np.asarray(bias, np.float32), trainable=False, name="bias")

    def __call__(self, inputs: Tensor) -> Tensor:
        """`inputs` float32 [rows, inputs] -> float32 [rows, outputs]."""
        products = tf.matmul(inputs, float32(self.kernel))
        # One scale belongs to a whole column, so it is applied to the products, which are fewer than the weights.
        return tf.nn.bias_add(products if self.scale is None else products * self.scale, self.bias)


class StoredTable(tf.Module):
    """An embedding table [rows, dim]; arguments and errors as `StoredMatrix`."""

    def __init__(self, table: Array, storage: str, name: str | None = None) -> None:
        super().__init__(name=name)
        values, scale = stored(table, storage, axis=1)
        self.table = tf.Variable(values, trainable=False, name="table")
        self.scale = None if scale is None else tf.Variable(scale, trainable=False, name="scale")

    def rows(self, indices: Tensor) -> Tensor:
        """Rows at `indices` int32 [tokens]: float32 [tokens, dim]."""
        rows = float32(tf.gather(self.table, indices))
        return rows if self.scale is None else rows * tf.gather(self.scale, indices)[:, None]

    def products(self, states: Tensor) -> Tensor:
        """`states` float32 [tokens, dim] with every row: float32 [tokens, rows]."""
        products = tf.matmul(states, float32(self.table), transpose_b=True)
        return products if self.scale is None else products * self.scale


class LayerNorm(tf.Module):
    """Layer normalisation over the last axis (Ba et al., 2016), as `keras.layers.LayerNormalization`."""

    def __init__(self, layer: "keras.layers.LayerNormalization", name: str | None = None) -> None:
        super().__init__(name=name)
        self.gamma = tf.Variable(array(layer.gamma), trainable=False, name="gamma")
        self.beta = tf.Variable(array(layer.beta), trainable=False, name="beta")
        self.epsilon = layer.epsilon

    def __call__(self, inputs: Tensor) -> Tensor:
        centred = inputs - tf.reduce_mean(inputs, axis=-1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
        return centred * (tf.math.rsqrt(variance + self.epsilon) * self.gamma) + self.beta


def stored(values: Array, storage: str, axis: int) -> tuple[Tensor, Array | None]:
    """(values as stored, float32 scale of each channel or None); a channel runs along `axis` of `values`.

    Raises:
        InputError: as `StoredMatrix`.
    """
    values = np.asarray(values, np.float32)
    if storage not in STORAGES:
        raise InputError(f"storage {storage!r}: must be one of {', '.join(STORAGES)}")
    if storage == "int8":
        largest = np.abs(values).max(axis=axis, keepdims=True, initial=0.0)
        scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(INT8_LARGEST)
        return np.rint(values / scale).astype(np.int8), scale.squeeze(axis)
    if storage == "float16" and np.abs(values).max(initial=0.0) > np.finfo(np.float16).max:
        raise InputError("storage float16: a weight is beyond 65504, float16's largest value; use bfloat16 or float32")
    return tf.cast(values, storage), None


def float32(variable: Tensor) -> Tensor:
    """The value of a stored variable or tensor for arithmetic."""
    return variable if variable.dtype == tf.float32 else tf.cast(variable, tf.float32)


def array(variable: Tensor) -> Array:
    """A Keras variable as a float32 array."""
    return np.asarray(variable, np.float32)


def dense(layer: "keras.layers.Dense", storage: str, name: str | None = None) -> StoredMatrix:
    """The `StoredMatrix` of a built `keras.layers.Dense` (its activation is left to the caller)."""
    return StoredMatrix(array(layer.kernel), array(layer.bias), storage, name=name)
