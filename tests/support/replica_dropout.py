"""Dropout on one device as several replicas draw it (TensorFlow)."""

import contextlib

import keras
import tensorflow as tf

from infoxlm_keras.distribution.workarounds import replica_seed


@contextlib.contextmanager
def drop_as_replicas_do(replicas):
    """Row i of a batch gets the mask of the replica whose share it is in, each with a contiguous share of the rows."""
    random = keras.src.backend.random

    def dropout(inputs, rate, noise_shape=None, seed=None):
        assert noise_shape is None
        seed = keras.src.random.seed_generator.draw_seed(seed)
        shares = [
            tf.nn.experimental.stateless_dropout(share, rate=rate, seed=random._cast_seed(replica_seed(seed, index)))
            for index, share in enumerate(tf.split(inputs, replicas))
        ]
        return tf.concat(shares, axis=0)

    own, random.dropout = random.dropout, dropout
    try:
        yield
    finally:
        random.dropout = own
