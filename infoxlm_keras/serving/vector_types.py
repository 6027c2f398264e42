"""The types in which a sentence vector is returned: float32, int8, and one bit a dimension.

int8 is 127 times the value, rounded, with ties to the even integer. The scale is fixed, because no value of a unit
vector is above 1. The dot product of two such vectors is about 16,129 (127 x 127) times their cosine. A bit is 1 where
the value is above 0, for vectors of any length. Eight bits make one uint8, the first dimension in its highest bit, as
`numpy.packbits` does. Vectors of bits are compared by their Hamming distance h: the angle between the vectors is about
pi h / D.
"""

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, Tensor
from infoxlm_keras.choices import VECTOR_TYPES
from infoxlm_keras.errors import InputError

INT8_SCALE = 127
BITS = 8


def check_vector_type(kind: str, dim: int, normalize: bool) -> None:
    """Checks that vectors can be returned in a type.

    Args:
        kind: str.
        dim: int, dimensions.
        normalize: bool, whether they have unit length.

    Raises:
        InputError: if there is no such type; for "int8", if they have another length than 1; for "binary", if their
            bits do not fill bytes.
    """
    if kind not in VECTOR_TYPES:
        raise InputError(f"vectors = {kind!r}: must be one of {', '.join(VECTOR_TYPES)}")
    if kind == "int8" and not normalize:
        raise InputError(
            "vectors = 'int8': its scale is that of unit vectors, and those of this model are not scaled; set "
            "normalize to true, or take float32 or binary"
        )
    if kind == "binary" and dim % BITS:
        raise InputError(
            f"vectors = 'binary': {dim} dimensions do not fill bytes; give dimensions = {dim // BITS * BITS or BITS}, "
            "or another multiple of 8"
        )


def quantize(vectors: Tensor, kind: str) -> Tensor:
    """`vectors` float32 [batch, dim] in the type `kind`: the same, int8 [batch, dim], or uint8 [batch, dim / 8]."""
    if kind == "int8":
        return tf.cast(tf.clip_by_value(tf.round(vectors * INT8_SCALE), -INT8_SCALE, INT8_SCALE), tf.int8)
    if kind == "binary":
        shape = [tf.shape(vectors)[0], vectors.shape[-1] // BITS, BITS]
        bits = tf.cast(tf.reshape(vectors, shape) > 0, tf.int32)
        return tf.cast(tf.reduce_sum(bits * [128, 64, 32, 16, 8, 4, 2, 1], axis=-1), tf.uint8)
    return vectors


def dequantize(stored: Array) -> Array:
    """Vectors as an export returns them, as float32 [batch, dim]: int8 divided by 127, bits as 1 and -1."""
    if stored.dtype == np.int8:
        return stored.astype(np.float32) / INT8_SCALE
    if stored.dtype == np.uint8:
        return np.where(np.unpackbits(stored, axis=-1), np.float32(1), np.float32(-1))
    return stored


def rounding_excess(stored: Array, vectors: Array) -> float:
    """How far `vectors` are from the nearest ones that are stored as `stored`; 0 if they are such vectors.

    Args:
        stored: int8 [batch, dim], or uint8 [batch, dim / 8], as `quantize` returns.
        vectors: float32 [batch, dim], the vectors that should have been stored.

    Returns:
        float, in units of `vectors`, or of the largest value among them if that is above 1; infinity if the shapes do
        not fit.
    """
    restored = dequantize(stored)
    if restored.shape != vectors.shape:
        return float("inf")
    if stored.dtype == np.int8:
        excess = np.abs(restored - vectors) - 0.5 / INT8_SCALE
    else:
        excess = np.where((vectors > 0) == (restored > 0), 0, np.abs(vectors))
    return float(excess.max(initial=0.0) / max(1.0, np.abs(vectors).max(initial=0.0)))


def with_equal_norms(queries: Array, candidates: Array) -> tuple[Array, Array]:
    """Float vectors whose cosines are in the order of the dot products of the given ones.

    Args:
        queries, candidates: float32 [rows, dim].

    Returns:
        float32 [rows, dim + 2] each, all of one length: two further dimensions, one for either side, add what a vector
        lacks to the longest and nothing to a dot product.
    """
    squares = [np.sum(np.square(side), axis=1, keepdims=True) for side in (queries, candidates)]
    longest = max(square.max(initial=0.0) for square in squares)
    missing = [np.sqrt(longest - square) for square in squares]
    return (
        np.concatenate([queries, missing[0], np.zeros_like(missing[0])], axis=1),
        np.concatenate([candidates, np.zeros_like(missing[1]), missing[1]], axis=1),
    )
