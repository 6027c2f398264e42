"""The order of data as arithmetic: which stream, and which of its records, sample number i is.

Everything here is a pure function of (seed, index), without a shuffle buffer or generator state. A run can therefore
resume at any step, and any number of readers or replicas reads the same samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.stateless_random import fold, random_key, random_permutation

MODULUS = 1 << 31
# The odd integer nearest 2^31 / golden ratio: its multiples spread most evenly over the modulus.
STRIDE = 1327217885


class StratifiedSchedule:
    """Draws from a set of choices with given probabilities, evenly spread and countable without replay.

    Draw i takes the point `(i * stride + offset) mod 2^31` of a line divided in proportion to the probabilities
    (a Kronecker sequence with the golden ratio). Among any n consecutive draws, a choice of probability p occurs
    n p times up to a small constant; independent draws would deviate by sqrt(n). The number of times that each choice
    occurs in the first n draws is a sum of floors, which takes a logarithmic number of operations.

    Args:
        probabilities: sequence of float >= 0 that sum to 1.
        key: int, see `random_key`; it sets the offset.
    """

    def __init__(self, probabilities: Sequence[float] | Array, key: int) -> None:
        edges = np.round(np.cumsum(np.asarray(probabilities, np.float64)) * MODULUS).astype(np.int64)
        edges[-1] = MODULUS
        self.edges = edges
        self.offset = key % MODULUS

    def draw(self, start: int, count: int) -> Array:
        """int64 [count]: the choices of draws `start`, `start + 1`, ..."""
        indices = (np.arange(count, dtype=np.int64) + start % MODULUS) % MODULUS
        points = (indices * STRIDE + self.offset) % MODULUS
        return np.searchsorted(self.edges, points, side="right")

    def counts(self, number: int) -> Array:
        """int64 [number of choices]: how often each choice came in the first `number` draws."""
        below = np.array([self._points_below(int(edge), number) for edge in self.edges], np.int64)
        return np.diff(below, prepend=0)

    def _points_below(self, edge, number):
        """How many of the first `number` points are smaller than `edge`."""
        if edge <= 0:
            return 0
        if edge >= MODULUS:
            return number
        # [x mod m < e] = floor((x + m) / m) - floor((x + m - e) / m)
        return _floor_sum(number, MODULUS, STRIDE, self.offset + MODULUS) - _floor_sum(
            number, MODULUS, STRIDE, self.offset + MODULUS - edge
        )


def _floor_sum(count, modulus, stride, offset):
    """`sum_{i < count} floor((stride * i + offset) / modulus)` by Euclid's algorithm, in exact integers."""
    total = 0
    while True:
        total += (count - 1) * count // 2 * (stride // modulus) + count * (offset // modulus)
        stride, offset = stride % modulus, offset % modulus
        highest = stride * count + offset
        if highest < modulus:
            return total
        count, offset = divmod(highest, modulus)
        modulus, stride = stride, modulus


class RecordOrder:
    """The order in which one stream's records are read, epoch after epoch.

    The builder has shuffled the records already. Each epoch reads the shards in another order and shuffles within
    windows of a shard, so that other records are neighbours. Every record occurs exactly once in an epoch.

    Args:
        shard_sizes: sequence of int >= 0, records of each shard, from the manifest.
        key: int, see `random_key`.
        window: int, records that are shuffled together.
    """

    def __init__(self, shard_sizes: Sequence[int] | Array, key: int, window: int = 2048) -> None:
        self.shard_sizes = np.asarray(shard_sizes, np.int64)
        self.records = int(self.shard_sizes.sum())
        if self.records < 1:
            raise InputError("a stream without records cannot be read")
        self.shard_key = random_key(key, "shards")
        self.record_key = random_key(key, "records")
        self.window = window
        self._latest: tuple[int | None, Any, Any] = (
            None,
            None,
            None,
        )  # epoch, its shards, the number of records up to the end of each

    def shards(self, epoch: int) -> Array:
        """int64 [shards]: the order of the shards in `epoch`."""
        return self._shards_and_ends(epoch)[0]

    def _shards_and_ends(self, epoch):
        # Another thread may ask for another epoch in between.
        latest = self._latest
        if latest[0] != epoch:
            shards = random_permutation(fold(self.shard_key, epoch), len(self.shard_sizes))
            latest = self._latest = (epoch, shards, np.cumsum(self.shard_sizes[shards]))
        return latest[1:]

    def window_order(self, epoch: int, shard: int, window: int, size: int) -> Array:
        """int64 [size]: the order of the records in window number `window` of `shard`."""
        return random_permutation(fold(self.record_key, epoch, shard, window), size)

    def position(self, rank: int) -> tuple[int, int, int]:
        """(epoch, place in `shards(epoch)`, records to pass over in that shard) of the record of number `rank`."""
        epoch, within = divmod(rank, self.records)
        ends = self._shards_and_ends(epoch)[1]
        place = int(np.searchsorted(ends, within, side="right"))
        return epoch, place, within - int(ends[place - 1] if place else 0)

    def record(self, rank: int) -> tuple[int, int, int]:
        """(epoch, shard, record within the shard) of number `rank`: what the pipeline reads, for checks and audits."""
        epoch, place, passed = self.position(rank)
        shard = int(self.shards(epoch)[place])
        window, within = divmod(passed, self.window)
        size = min(self.window, int(self.shard_sizes[shard]) - window * self.window)
        return epoch, shard, window * self.window + int(self.window_order(epoch, shard, window, size)[within])
