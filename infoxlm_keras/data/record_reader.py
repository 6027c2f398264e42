"""Records of one stream by their number, read from TFRecord shards (no TensorFlow).

`RecordOrder` makes the record of a number a pure function of (key, number). A reader can therefore begin anywhere and
keeps no file open, and a stream (of one language and length bucket) costs nothing until it is read.
"""

from infoxlm_keras.data.order import RecordOrder
from infoxlm_keras.data.split import StreamPart
from infoxlm_keras.records.tfrecord import describe_missing, read_window


class RecordReader:
    """Reads the records of a stream's part in the order of `RecordOrder`.

    It keeps the window that it read last, so reading on costs one pass over the shards. To begin elsewhere, it reads
    at most the frame lengths of one shard.

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
        if latest == (epoch, shard, window - 1):
            stored, end = read_window(path, first, size, offset=end, passed=first)
        else:
            stored, end = read_window(path, first, size)
        if len(stored) < size:
            raise describe_missing(path, first + len(stored), first + size)
        records = [stored[number] for number in self.order.window_order(epoch, shard, window, size).tolist()]
        self._latest = ((epoch, shard, window), records, end)
        return records
