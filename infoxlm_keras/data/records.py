"""TFRecord shards as an endless sequence of serialized records in a given order (TensorFlow)."""

import tensorflow as tf

from infoxlm_keras.data.stateless_random import tf_fold, tf_random_permutation


def record_dataset(paths, order, start=0):
    """The records of one stream from number `start` on, epoch after epoch, without end.

    Reads at most one shard to find the start. The order is `order.record(i)` for i = start, start + 1, ...

    Args:
        paths: list of str, the shards, as `order.shard_sizes` counts them.
        order: `RecordOrder`.
        start: int, the number of the first record.

    Returns:
        tf.data.Dataset of scalar strings, serialized `tf.train.Example`s.
    """
    epoch, place, passed = order.position(start)
    paths = tf.constant(paths)
    first_window, passed_in_window = divmod(passed, order.window)

    def epoch_shards(epoch):
        shards = tf_random_permutation(tf_fold(order.shard_key, epoch), len(order.shard_sizes))
        return tf.data.Dataset.from_tensor_slices(shards).map(lambda shard: (epoch, shard))

    def windows(epoch, shard):
        records = tf.data.TFRecordDataset(paths[shard])
        return records.batch(order.window).enumerate().map(lambda number, window: (epoch, shard, number, window))

    def shuffle_window(epoch, shard, number, window):
        key = tf_fold(order.record_key, epoch, shard, number)
        return tf.gather(window, tf_random_permutation(key, tf.shape(window, tf.int64)[0]))

    shards = tf.data.Dataset.range(epoch, tf.int64.max).flat_map(epoch_shards).skip(place)
    shuffled = shards.flat_map(windows).skip(first_window).map(shuffle_window)
    return shuffled.unbatch().skip(passed_in_window)


def parse_token_lists(serialized, names):
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
