"""The stateless random numbers: equal in NumPy and TensorFlow, uniform, and different for different keys."""

import numpy as np
import tensorflow as tf

from infoxlm_keras.stateless_random import (
    fold,
    random_bits,
    random_key,
    random_permutation,
    tf_fold,
    tf_random_bits,
    tf_random_permutation,
    tf_uniform,
    uniform,
)


def splitmix_finalizer(value):
    """The published mixing steps of SplitMix64, in Python's unbounded integers."""
    mask = (1 << 64) - 1
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & mask
    return value ^ (value >> 31)


def test_bits_follow_the_published_mixer():
    mask, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15
    for key in (0, 1, (1 << 64) - 1, random_key("x")):
        start = splitmix_finalizer((key + golden) & mask)
        for index in (0, 1, 12345, 1 << 40):
            inner = splitmix_finalizer(((index + 1) * golden + start) & mask)
            assert int(random_bits(key, [index])[0]) == splitmix_finalizer((inner + start) & mask)


def test_tensorflow_draws_the_same_numbers():
    key, indices = random_key(7, "mask"), np.arange(5000) * 977
    assert np.array_equal(tf_random_bits(key, tf.constant(indices)).numpy(), random_bits(key, indices))
    assert np.array_equal(tf_uniform(key, tf.constant(indices)).numpy(), uniform(key, indices))
    assert int(tf_fold(key, 3, 1 << 33).numpy()) == fold(key, 3, 1 << 33)
    assert np.array_equal(tf_random_permutation(key, 999).numpy(), random_permutation(key, 999))


def test_numbers_are_uniform_and_uncorrelated():
    numbers = uniform(random_key("uniform"), np.arange(200_000)).astype(np.float64)
    histogram = np.histogram(numbers, bins=100, range=(0, 1))[0]
    # Chi squared with 99 degrees of freedom: mean 99, standard deviation 14.
    assert np.sum((histogram - 2000.0) ** 2 / 2000.0) < 99 + 5 * 14
    for lag in (1, 2, 67):
        assert abs(np.corrcoef(numbers[lag:], numbers[:-lag])[0, 1]) < 5 / np.sqrt(200_000)


def test_keys_give_unrelated_streams():
    first = uniform(random_key(0, "a"), np.arange(100_000))
    second = uniform(random_key(0, "b"), np.arange(100_000))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(100_000)
    assert random_key(1, 2) != random_key(12) and random_key(1, 2) != random_key(2, 1)


def test_permutation_is_one_and_depends_on_the_key():
    permutation = random_permutation(random_key(1), 1000)
    assert sorted(permutation) == list(range(1000))
    assert not np.array_equal(permutation, random_permutation(random_key(2), 1000))
