"""The batches of a head's samples: batch number s is a function of the seed and s alone, so a run can resume at s."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from infoxlm_keras.annotations import Array, Batch
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.length_groups import LengthGroups


class SampleBatches:
    """Every epoch holds all samples once, in an order of its own.

    All batches have one shape, or with `group_by_length` one of a few. The last one of an epoch is filled up with rows
    whose `weights` are 0.

    Args:
        arrays: dict of arrays [samples, ...], `weights` among them.
        batch_size: int, samples an update; fewer if there are fewer samples.
        epochs: int.
        seed: int.
        parts: int, replicas times micro-batches, into which each batch is cut.
        name: str, the task's name in a batch.
        group_by_length: bool, whether a batch holds samples of about equal length, see `length_groups.py`.

    Attributes:
        batch_size, updates_per_epoch, updates: int.

    Raises:
        InputError: if a batch cannot be cut into equal parts.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        batch_size: int,
        epochs: int,
        seed: int,
        parts: int = 1,
        name: str = "head",
        group_by_length: bool = False,
    ) -> None:
        check_batch_size(batch_size, parts)
        self.arrays = dict(arrays)
        self.samples = len(self.arrays["weights"])
        self.batch_size = min(batch_size, -(-self.samples // parts) * parts)
        self.updates_per_epoch = -(-self.samples // self.batch_size)
        self.updates = epochs * self.updates_per_epoch
        self.seed = seed
        self.name = name
        self._groups = LengthGroups(self.arrays) if group_by_length else None
        self._order: tuple[int, Array] = (-1, np.zeros(0, np.int64))

    def rows(self, update: int) -> Array:
        """int [batch_size], the samples of batch number `update` (from 0); -1 stands for none."""
        epoch, place = divmod(update, self.updates_per_epoch)
        rows = self._order_of(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        return np.concatenate([rows, np.full(self.batch_size - len(rows), -1)])

    def _order_of(self, epoch):
        """int [samples], the order of an epoch; the last one is kept."""
        if self._order[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            order = generator.permutation(self.samples)
            if self._groups is not None:
                order = self._groups.order(order, self.batch_size, generator)
            self._order = (epoch, order)
        return self._order[1]

    def batch(self, update: int) -> Batch:
        """Batch number `update`, `{name: {name: array [batch_size, ...]}}`."""
        rows = self.rows(update)
        # Copies of a sample, which is safer than rows without any token.
        filled = np.where(rows < 0, rows[0], rows)
        batch = {name: values[filled] for name, values in self.arrays.items()}
        batch["weights"][rows < 0] = 0.0
        return {self.name: batch if self._groups is None else self._groups.cut(batch, filled)}

    def batches(self, start: int) -> Iterator[tuple[Batch]]:
        """Yields the batches from number `start` to the last."""
        for update in range(start, self.updates):
            yield (self.batch(update),)

    def dataset(self, start: int) -> Any:
        """What `fit` reads from batch number `start` on: a `tf.data.Dataset` on TensorFlow, else a generator."""
        if keras.backend.backend() != "tensorflow":
            return self.batches(start)
        import tensorflow as tf

        cut = self._groups.cut_names if self._groups is not None else ()
        signature = {
            name: tf.TensorSpec((self.batch_size, *values.shape[1:-1], None), values.dtype)
            if name in cut
            else tf.TensorSpec((self.batch_size, *values.shape[1:]), values.dtype)
            for name, values in self.arrays.items()
        }
        dataset = tf.data.Dataset.from_generator(
            lambda: self.batches(start), output_signature=({self.name: signature},)
        )
        return dataset.prefetch(2)


def check_batch_size(batch_size: int, parts: int) -> None:
    """Raises `InputError` if a batch of `batch_size` samples cannot be cut into as many equal `parts`."""
    if batch_size % parts:
        raise InputError(
            f"batch_size = {batch_size}: cannot be divided among {parts} replicas times micro-batches; make it a "
            f"multiple of {parts}, for instance {-(-batch_size // parts) * parts}"
        )
