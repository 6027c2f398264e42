"""Communication between the replicas of a `tf.distribute.Strategy` within a step (TensorFlow)."""

from typing import Any

import tensorflow as tf


class Replicas:
    """The replicas that run a step together; make the object inside the step.

    Outside a strategy there is one replica, and the methods return their argument.

    Attributes:
        count: int, replicas of all workers.
        index: int or int32 scalar, the number of this one among them.
    """

    def __init__(self) -> None:
        self._context = tf.distribute.get_replica_context()
        self.count = self._context.num_replicas_in_sync
        self.index = self._context.replica_id_in_sync_group

    def sum(self, structure: Any) -> Any:
        """`structure` (nested tensors) summed over the replicas; the result is bit-identical on all of them."""
        if self.count == 1:
            return structure
        flat = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(structure)]
        return tf.nest.pack_sequence_as(structure, self._context.all_reduce(tf.distribute.ReduceOp.SUM, flat))

    def join(self, tensor: tf.Tensor, axis: int) -> tf.Tensor:
        """All replicas' `tensor` laid end to end along `axis`, in their order.

        It is a sum of zero-padded tensors, in which every replica fills its own place. Unlike `all_gather` it has a
        static shape under every strategy, which a TPU needs. It is exact, because 0 + x = x.
        """
        if self.count == 1:
            return tensor
        shape = tensor.shape.as_list()
        own_place = tf.equal(tf.range(self.count), self.index)
        own_place = tf.reshape(own_place, [self.count] + [1] * (len(shape) - axis))
        one = tf.expand_dims(tensor, axis)  # [..., 1, size, ...]
        placed = tf.where(own_place, one, tf.zeros_like(one))  # [..., count, size, ...]
        return tf.reshape(self.sum(placed), [*shape[:axis], self.count * shape[axis], *shape[axis + 1 :]])
