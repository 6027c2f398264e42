"""Arrays on disk, sorted by a 64-bit key, from which any range of keys is read back without reading the rest."""

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.files.written_files import new_file

# What `write_sorted` adds to its path.
SUFFIXES = (".keys.npy", ".rows.npy")


def write_sorted(path: str, keys: Array, rows: Array) -> Array:
    """Writes `rows` in the order of their keys.

    Args:
        path: str, what the names of the files begin with.
        keys: uint64 [n].
        rows: array [n, ...].

    Returns:
        int64 [n]: the order, `rows[order]` being what was written; equal keys stay in the order given.
    """
    order = np.argsort(keys, kind="stable")
    for suffix, array in zip(SUFFIXES, (keys, rows), strict=True):
        with new_file(path + suffix) as file:
            np.save(file, array[order])
    return order


def read_range(path: str, first: int, last: int) -> tuple[Array, Array]:
    """(keys, rows) of `write_sorted` with `first` <= key <= `last`, as arrays in memory."""
    keys = np.load(path + SUFFIXES[0], mmap_mode="r")
    start = int(np.searchsorted(keys, np.uint64(first)))
    end = int(np.searchsorted(keys, np.uint64(last), side="right"))
    rows = read_rows(path)
    return np.array(keys[start:end]), np.array(rows[start:end])


def read_rows(path: str) -> Array:
    """All rows of `write_sorted`, mapped from the file."""
    return np.load(path + SUFFIXES[1], mmap_mode="r")
