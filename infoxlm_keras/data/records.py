"""Serialized records to token ids (TensorFlow)."""

from collections.abc import Iterable

import tensorflow as tf


def parse_token_lists(serialized: tf.Tensor, names: Iterable[str]) -> dict[str, tf.RaggedTensor]:
    """Ragged int32 token ids of a batch of records.

    Args:
        serialized: string tensor [batch].
        names: features to read, each an int64 list.

    Returns:
        dict of name to ragged int32 [batch, None].
    """
    features = {name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int32) for name in names}
    parsed = tf.io.parse_example(serialized, features)
    return {name: tf.cast(parsed[name], tf.int32) for name in names}
