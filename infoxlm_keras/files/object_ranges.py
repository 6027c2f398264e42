"""Objects of a store that are read by ranges, and ahead of their use."""

import concurrent.futures
import functools
import os

from infoxlm_keras.files import storage

# Reads of less are answered from what the read before brought.
RANGE_BYTES = 1 << 22


class ObjectFile:
    """An object that is read by ranges, with as much of a binary file's interface as a sequential reader needs.

    Args:
        address: str.
        ahead: optional future of `read_ahead`, for the first bytes that are read.
    """

    def __init__(self, address: str, ahead: "concurrent.futures.Future[tuple[int, bytes]] | None" = None) -> None:
        self.address = address
        self.size = object_size(address)
        self._position = 0
        self._start, self._held = (0, b"") if ahead is None else ahead.result()

    def __enter__(self) -> "ObjectFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._held = b""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        """As `io.IOBase.seek`, from the beginning or from the present position."""
        self._position = offset + (self._position if whence == os.SEEK_CUR else 0)

    def read(self, count: int) -> bytes:
        """bytes: the next `count` (int), fewer at the end."""
        stop = min(self._position + count, self.size)
        begin = self._position - self._start
        if begin < 0 or stop > self._start + len(self._held):
            if stop <= self._position:
                return b""
            # What is held already is not fetched again.
            kept = self._held[begin:] if 0 <= begin < len(self._held) else b""
            first = self._position + len(kept)
            last = min(max(stop, first + RANGE_BYTES), self.size)
            self._start, self._held = self._position, kept + read_range(self.address, first, last)
            begin = 0
        self._position = stop
        return self._held[begin : begin + max(0, stop - self._start - begin)]


def read_range(address: str, start: int, stop: int) -> bytes:
    """bytes `start`..`stop` (int) of the object at `address` (str)."""
    with storage.reaching(address, "read"):
        files, path = storage.file_system(address)
        return files.cat_file(path, start=start, end=stop)


def read_ahead(address: str, start: int, stop: int) -> "concurrent.futures.Future[tuple[int, bytes]]":
    """Begins to read bytes `start`..`stop` (int, cut at the object's end) in the background: a future of
    (start, bytes)."""

    def read():
        last = min(stop, object_size(address))
        return start, (read_range(address, start, last) if last > start else b"")

    return _readers().submit(read)


@functools.cache
def _readers():
    return concurrent.futures.ThreadPoolExecutor(storage.PARALLEL_TRANSFERS, "read-ahead")


@functools.lru_cache(1 << 16)
def object_size(address: str) -> int:
    """int: bytes of the object at `address` (str), which does not change while it is read."""
    with storage.reaching(address, "read"):
        files, path = storage.file_system(address)
        return int(files.info(path)["size"])
