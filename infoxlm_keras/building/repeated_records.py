"""Finds records that repeat an earlier one, on disk: memory does not grow with their number.

Records are known by 64-bit keys, in files sorted by key (`sorted_files`) whose rows are the records' numbers in the
order of the input. All records with equal keys lie in one range of keys, so ranges are looked at one after another.
What grows with the input are three bytes a record, in files that are mapped into memory and not kept there.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.building.shuffled_shards import range_of
from infoxlm_keras.building.sorted_files import read_range
from infoxlm_keras.files.written_files import new_file

KEPT, DUPLICATE, NEAR_DUPLICATE = 0, 1, 2
# A record that shares a side with one that is held out, see `held_out.py`.
HELD_OUT = 3
# Keys that are sorted in memory at once, and flags that are looked at together.
KEYS_TOGETHER = 1 << 18
FLAGS_TOGETHER = 1 << 22


def compared_name(kind: str, name: str) -> str:
    """str, equal for the names whose records are compared with each other.

    Pairs in both directions, `en-de` and `de-en`, are one corpus. Otherwise a pair that occurs in both would be
    trained on twice, or held out in one direction and trained on in the other.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        name: str, a language or a pair of languages.
    """
    return "-".join(sorted(name.split("-"))) if kind == "bitext" else name


def reversed_names(names: Iterable[str]) -> frozenset[str]:
    """frozenset of str: of pairs (`names`) that are there in both directions, the one to be compared the other way."""
    names = set(names)
    return frozenset(name for name in names if (back := "-".join(name.split("-")[::-1])) in names and name > back)


def find_duplicates(
    path: str, count: int, exact: Sequence[str], near: Sequence[str] = (), keys: int | None = None
) -> Array:
    """Finds the records to leave out.

    The first of all records with equal exact keys stays. A record is a near duplicate if any of its near keys is one
    of an earlier record that stays itself.

    Args:
        path: str, file to write: uint8 [count], `KEPT`, `DUPLICATE` or `NEAR_DUPLICATE` for each record (.npy).
        count: int, number of records.
        exact, near: lists of str, files of `write_sorted` with the records' keys; rows are int64, records' numbers.
        keys: int, about how many keys the larger of `exact` and `near` have; default `count`.

    Returns:
        uint8 [count], mapped from the file.
    """
    verdict = _flags(path, np.uint8, count)
    parts = max(1, -(-(keys or count) // KEYS_TOGETHER))
    ranges = [range_of(part, parts) for part in range(parts)]
    for first, last in ranges:
        _, numbers, leads = _groups(exact, first, last)
        verdict[numbers[~leads]] = DUPLICATE
    if near:
        _find_near_duplicates(path, verdict, near, ranges)
    verdict.flush()
    return np.load(path, mmap_mode="r")


def _find_near_duplicates(path, verdict, near, ranges):
    """Decides on the undecided records in rounds; the result equals a sequential pass over the records.

    A record stays if all earlier records that share a key with it are dropped; it is dropped if one of them stays.
    """
    stays, waits = (_flags(f"{path}.{name}", bool, len(verdict)) for name in ("stays", "waits"))
    undecided = True
    while undecided:
        for block in _blocks(len(waits)):
            waits[block] = False
        for first, last in ranges:
            keys, numbers, leads = _groups(near, first, last, verdict)
            leaders = numbers[leads][np.cumsum(leads) - 1]
            follows = numbers != leaders
            stay = stays[leaders]
            verdict[numbers[follows & stay]] = NEAR_DUPLICATE
            waits[numbers[follows & ~stay]] = True
        undecided = False
        for block in _blocks(len(waits)):
            is_open = (verdict[block] == KEPT) & ~stays[block]
            stays[block] |= is_open & ~waits[block]
            undecided |= bool((is_open & waits[block]).any())


def _groups(paths, first, last, verdict=None):
    """(keys, numbers, leads) of a range of keys, sorted by both; `leads` marks the first of each key.

    Records that `verdict`, if given, leaves out are passed over.
    """
    parts = [read_range(path, first, last) for path in paths]
    keys = np.concatenate([keys for keys, _ in parts]) if parts else np.empty(0, np.uint64)
    numbers = np.concatenate([numbers for _, numbers in parts]) if parts else np.empty(0, np.int64)
    if verdict is not None:
        kept = verdict[numbers] == KEPT
        keys, numbers = keys[kept], numbers[kept]
    order = np.lexsort((numbers, keys))
    keys, numbers = keys[order], numbers[order]
    leads = np.ones(len(keys), bool)
    leads[1:] = keys[1:] != keys[:-1]
    return keys, numbers, leads


def _flags(path, dtype, count):
    """A new file of zeros, mapped to be changed.

    The zeros are written: in a file with holes a full disk would end the process without a message, at a page's first
    change.
    """
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (count,)}
    with new_file(path) as file:
        np.lib.format.write_array_header_1_0(file, description)
        for block in _blocks(count):
            file.write(np.zeros(min(block.stop, count) - block.start, dtype).data)
    return np.load(path, mmap_mode="r+")


def _blocks(count):
    return [slice(start, start + FLAGS_TOGETHER) for start in range(0, count, FLAGS_TOGETHER)]
