"""The running mean behind every metric of the pretrainer."""

import keras


class ReplicatedMean(keras.metrics.Mean):
    """A mean whose every update is the same on all replicas, so that each of them can read it by itself.

    Keras' own sums over the replicas whenever it is read: a message in which all workers must take part.
    """

    def add_variable(self, shape, initializer, dtype=None, aggregation="only_first_replica", name=None):
        return super().add_variable(shape, initializer, dtype=dtype, aggregation=aggregation, name=name)
