"""A first-in, first-out queue of past keys, the negatives of the contrast."""

from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class KeyQueue(keras.layers.Layer):
    """The last `length` keys, oldest overwritten first, for any batch size (writes wrap round).

    Args:
        length: int. Slots; the reference uses 131,072.
        dim: int. Width of a key.

    Attributes:
        keys: float32 variable [length, dim], whatever the precision policy.
        pointer: int32 variable, the slot that is written next.
        count: int32 variable, the number of slots that hold a key. Empty slots are masked out of the contrast.
    """

    def __init__(self, length: int, dim: int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**{"trainable": False, **kwargs})
        if length < 1:
            raise InputError(f"queue_length = {length}: must be at least 1")
        self.length = length
        self.dim = dim
        self.keys = self.add_weight(
            name="keys", shape=(length, dim), initializer="zeros", trainable=False, dtype="float32", autocast=False
        )
        self.pointer = self.add_weight(name="pointer", shape=(), initializer="zeros", trainable=False, dtype="int32")
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False, dtype="int32")
        self.built = True

    def mask(self) -> Tensor:
        """bool [length]: True where a key was written."""
        return ops.arange(self.length, dtype="int32") < ops.convert_to_tensor(self.count)

    def enqueue(self, keys: Tensor) -> None:
        """Writes `keys` at the pointer, in order.

        Args:
            keys: float32 [n, dim]; n is static, or at most `length`. Of more than `length` keys, the last `length`
                are kept. If one is not finite, none is written: one NaN in the queue would make every later loss NaN.
        """
        keys = ops.stop_gradient(ops.cast(keys, "float32"))
        finite = ops.all(ops.isfinite(keys))
        added = ops.shape(keys)[0]
        if isinstance(added, int) and added > self.length:
            passed_over, keys = added - self.length, keys[added - self.length :]
        else:
            passed_over = 0
        pointer = ops.convert_to_tensor(self.pointer)
        slots = (pointer + passed_over + ops.arange(added - passed_over, dtype="int32")) % self.length
        present = ops.convert_to_tensor(self.keys)
        written = ops.where(finite, keys, ops.take(present, slots, axis=0))
        self.keys.assign(ops.scatter_update(present, ops.expand_dims(slots, -1), written))
        advance = added * ops.cast(finite, "int32")
        self.pointer.assign((pointer + advance) % self.length)
        self.count.assign(ops.minimum(ops.convert_to_tensor(self.count) + advance, self.length))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "length": self.length, "dim": self.dim}
