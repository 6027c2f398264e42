"""A file of rows of numbers that grows by blocks, so that an interrupted run can go on behind the last block."""

import os
import pathlib
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array


class RowFile:
    """Rows of one length and type, one after another, without a header.

    It is written as a file, not through a memory map: a full disk is then an error with a name, not the end of the
    process by SIGBUS.

    Args:
        path: path.
        dtype: NumPy's dtype of the numbers.
        columns: int, numbers a row.
    """

    def __init__(self, path: pathlib.Path, dtype: Any, columns: int) -> None:
        self.path = path
        self.dtype = np.dtype(dtype)
        self.columns = columns

    @property
    def rows(self) -> int:
        """int: how many whole rows there are; 0 without a file."""
        return self.path.stat().st_size // self._row_bytes if self.path.exists() else 0

    def write(self, start: int, block: Array) -> None:
        """Writes `block` ([n, columns]) as the rows from `start` on, drops what follows, and waits for the disk."""
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            file.truncate(start * self._row_bytes)
            file.seek(start * self._row_bytes)
            file.write(np.ascontiguousarray(block, self.dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def open(self) -> Array:
        """The rows, [rows, columns], on the disk, read-only."""
        return np.memmap(os.fspath(self.path), self.dtype, "r", shape=(self.rows, self.columns))

    @property
    def _row_bytes(self):
        return self.dtype.itemsize * self.columns
