"""Records of one stream by their number, read from TFRecord shards (no TensorFlow).

`RecordOrder` makes the record of a number a pure function of (key, number). A reader can therefore begin anywhere and
keeps no file open, and a stream (of one language and length bucket) costs nothing until it is read.
"""

import concurrent.futures

from infoxlm_keras.data.order import RecordOrder
from infoxlm_keras.data.split import StreamPart
from infoxlm_keras.files import object_ranges, storage
from infoxlm_keras.records.tfrecord import describe_missing, read_window

# Read ahead, beyond an eighth more than the window before took; and in all.
_MARGIN_BYTES, _MOST_AHEAD_BYTES = 1 << 17, 1 << 25


class RecordReader:
    """Reads the records of a stream's part in the order of `RecordOrder`.

    It keeps the window that it read last, so reading on costs one pass over the shards. To begin elsewhere, it reads
    at most the frame lengths of one shard. Of shards in a store, the next window is fetched while this one is used.

    Args:
        part: `StreamPart`, the shards.
        order: `RecordOrder` of `part.sizes`.
    """

    def __init__(self, part: StreamPart, order: RecordOrder) -> None:
        self.part = part
        self.order = order
        # One tuple, so that two iterators over the same reader cannot read a half-made change.
        self._latest: tuple[tuple[int, int, int] | None, list[bytes], int] = (
            None,
            [],
            0,
        )  # (epoch, shard, window), its records in reading order, offset of its end
        # What is being fetched: (shard, offset), and the future of its bytes.
        self._ahead: tuple[tuple[int, int], concurrent.futures.Future[tuple[int, bytes]]] | None = None

    def read(self, start: int, count: int) -> list[bytes]:
        """list of bytes: the serialized `tf.train.Example`s of numbers `start`..`start + count`.

        Raises:
            InputError: if a shard is damaged, cut or missing; names it and the byte offset.
        """
        found: list[bytes] = []
        while len(found) < count:
            epoch, place, passed = self.order.position(start + len(found))
            window, within = divmod(passed, self.order.window)
            records = self._window(epoch, int(self.order.shards(epoch)[place]), window)
            found += records[within : within + count - len(found)]
        return found

    def _window(self, epoch, shard, window):
        latest, records, end = self._latest
        if latest == (epoch, shard, window):
            return records
        path, first = self.part.paths[shard], int(self.part.firsts[shard]) + window * self.order.window
        size = min(self.order.window, int(self.part.sizes[shard]) - window * self.order.window)
        begin, passed = (end, first) if latest == (epoch, shard, window - 1) else (0, 0)
        if storage.is_remote(path):
            ahead, self._ahead = self._ahead, None
            fetched = ahead[1] if ahead is not None and ahead[0] == (shard, begin) else None
            stored, end = read_window(path, first, size, begin, passed, fetched)
            self._read_ahead(epoch, shard, window, end, sum(map(len, stored)))
        else:
            stored, end = read_window(path, first, size, begin, passed)
        if len(stored) < size:
            raise describe_missing(path, first + len(stored), first + size)
        records = [stored[number] for number in self.order.window_order(epoch, shard, window, size).tolist()]
        self._latest = ((epoch, shard, window), records, end)
        return records

    def _read_ahead(self, epoch, shard, window, end, size):
        """Begins to fetch what is read after a window: the next one of the shard, or the next shard's first."""
        if (window + 1) * self.order.window < int(self.part.sizes[shard]):
            place = (shard, end)
        else:
            order = self.order.shards(epoch).tolist()
            after = order.index(shard) + 1
            place = (order[after] if after < len(order) else int(self.order.shards(epoch + 1)[0]), 0)
        # Windows of a stream are about as long as each other; what lacks is read when it is needed.
        length = min(size + size // 8 + _MARGIN_BYTES, _MOST_AHEAD_BYTES)
        self._ahead = (place, object_ranges.read_ahead(self.part.paths[place[0]], place[1], place[1] + length))
