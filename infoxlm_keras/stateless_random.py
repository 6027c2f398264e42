"""Random numbers that are a pure function of (key, sample index, position).

One counter-based hash, the finalizer of SplitMix64 (Steele et al. 2014), written with operators that NumPy and
TensorFlow share. No generator state exists, so any reader, replica or restart draws the same numbers.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array

if TYPE_CHECKING:
    import tensorflow as tf

_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)


def random_key(*parts: object) -> int:
    """A 64-bit key (int) for a purpose, for instance `random_key(seed, "mmlm", "mask")`; equal parts, equal key."""
    text = "\x1f".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _mix(bits, shift_right):
    bits = (bits ^ shift_right(bits, 30)) * _MULTIPLIERS[0]
    bits = (bits ^ shift_right(bits, 27)) * _MULTIPLIERS[1]
    return bits ^ shift_right(bits, 31)


def _numpy_shift(bits, distance):
    return bits >> np.uint64(distance)


def _start(key):
    """uint64 scalar: what a key adds to every index."""
    with np.errstate(over="ignore"):
        return _mix(np.asarray([key], np.uint64) + _INCREMENT, _numpy_shift)[0]


def random_bits(key: int, indices: Any) -> Array:
    """uint64 array like `indices` (integer array): independent uniform 64-bit numbers under `key`."""
    indices = np.asarray(indices).astype(np.uint64)
    with np.errstate(over="ignore"):
        start = _start(key)
        return _mix(_mix((indices + np.uint64(1)) * _INCREMENT + start, _numpy_shift) + start, _numpy_shift)


def fold(key: int, *indices: int) -> int:
    """A new key (int) from `key` and integers, for instance an epoch and a shard number."""
    for index in indices:
        key = int(random_bits(key, [index])[0])
    return key


def random_permutation(key: int, size: int) -> Array:
    """A permutation of `range(size)`, int64 [size], that depends on `key` and `size` only."""
    return np.argsort((random_bits(key, np.arange(size)) >> np.uint64(1)).astype(np.int64), kind="stable")


def tf_random_bits(key: int | tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """`random_bits` in TensorFlow: uint64 tensor like `indices` (any integer tensor), equal number for number."""
    import tensorflow as tf

    if isinstance(key, int):
        start = tf.constant(_start(key), tf.uint64)
    else:
        key = tf.cast(key, tf.uint64)
        start = _tf_mix()(key + tf.constant(_INCREMENT, tf.uint64))
    spread = (tf.cast(indices, tf.uint64) + tf.constant(1, tf.uint64)) * tf.constant(_INCREMENT, tf.uint64)
    bits = _tf_mix()(_tf_mix()(spread + start) + start)
    bits.set_shape(tf.broadcast_static_shape(spread.shape, start.shape))
    return bits


@functools.cache
def _tf_mix():
    """`_mix` in TensorFlow, traced once: it is in the graphs of the streams some hundred times."""
    import tensorflow as tf

    def shift_right(bits, distance):
        return tf.bitwise.right_shift(bits, tf.constant(distance, tf.uint64))

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(None, tf.uint64)])
    def mix(bits):
        bits = tf.bitwise.bitwise_xor(bits, shift_right(bits, 30)) * tf.constant(_MULTIPLIERS[0], tf.uint64)
        bits = tf.bitwise.bitwise_xor(bits, shift_right(bits, 27)) * tf.constant(_MULTIPLIERS[1], tf.uint64)
        return tf.bitwise.bitwise_xor(bits, shift_right(bits, 31))

    return mix


def tf_fold(key: int | tf.Tensor, *indices: int | tf.Tensor) -> tf.Tensor:
    """`fold` in TensorFlow: a uint64 scalar from a key and integer scalars."""
    import tensorflow as tf

    for index in indices:
        key = tf_random_bits(key, tf.reshape(index, [1]))[0]
    return key


def tf_random_permutation(key: int | tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """`random_permutation` in TensorFlow: int64 [size], equal to it."""
    import tensorflow as tf

    bits = tf.bitwise.right_shift(tf_random_bits(key, tf.range(size)), tf.constant(1, tf.uint64))
    return tf.argsort(tf.cast(bits, tf.int64), stable=True)


def tf_uniform(key: int | tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """float32 tensor like `indices`, uniform in [0, 1): the top 24 bits of `tf_random_bits`."""
    import tensorflow as tf

    bits = tf.bitwise.right_shift(tf_random_bits(key, indices), tf.constant(40, tf.uint64))
    return tf.cast(bits, tf.float32) * (1.0 / (1 << 24))


def uniform(key: int, indices: Any) -> Array:
    """float32 array like `indices`, uniform in [0, 1); equal to `tf_uniform`."""
    return (random_bits(key, indices) >> np.uint64(40)).astype(np.float32) * np.float32(1.0 / (1 << 24))
