"""Leaves out pairs that share a sentence with one that is held out, so that what validates a model is new to it.

The last records of each stream can be held out when a model is trained (`infoxlm_keras.data.split`). A translation
corpus has many sentences with several translations: without this, the source of a pair that is held out can be the
source of another one that is trained on. With `--held_out N`, of every stream the last N records (a tenth at most)
share no side with any other record of the build, in any language and direction, and none with each other; so this
holds for each smaller number that is held out, too.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.building.repeated_records import HELD_OUT, KEPT
from infoxlm_keras.data.split import held_out
from infoxlm_keras.files.written_files import new_file

if TYPE_CHECKING:
    from infoxlm_keras.building.spills import SpilledStream


@dataclasses.dataclass(frozen=True)
class Sides:
    """What the sides of the records of one run are known by.

    Args:
        group: str, whose records are numbered together.
        first: int, number of the run's first record.
        path: str, file with uint64 [records, keys of a record].
    """

    group: str
    first: int
    path: str

    def keys(self) -> Array:
        """uint64 [records, keys of a record], mapped from the file."""
        return np.load(self.path, mmap_mode="r")


def leave_out_shared_sides(
    streams: Sequence[SpilledStream], groups: Mapping[str, str], sides: Sequence[Sides], number: int
) -> None:
    """Marks the records to leave out as `HELD_OUT` in the verdicts of `streams`.

    Args:
        streams: list of `SpilledStream`, all of a build, with files of verdicts that may be changed.
        groups: dict of the streams' names to their groups.
        sides: list of `Sides` of all runs.
        number: int, records that can be held out of each stream.
    """
    verdicts = {groups[stream.name]: np.load(str(stream.verdict), mmap_mode="r+") for stream in streams}
    changed = True
    # What is left out moves the last records of a stream, and a tenth of it.
    while changed:
        last = [(groups[stream.name], _last(stream, verdicts[groups[stream.name]], number)) for stream in streams]
        changed, held = _leave_out_among(last, verdicts, sides)
        changed |= _leave_out_others(held, verdicts, sides)
    for verdict in verdicts.values():
        verdict.flush()


def copied_verdicts(path: str, verdict: str | None, count: int) -> str:
    """Copies the file `verdict` (or writes that all of `count` records are kept) to `path`, which may be changed."""
    with new_file(path) as file:
        if verdict is None:
            np.save(file, np.full(count, KEPT, np.uint8))
        else:
            with open(verdict, "rb") as source:
                shutil.copyfileobj(source, file)
    return path


def _last(stream, verdict, number):
    """int64 [records]: numbers of the records that are held out of a stream, the last one first."""
    spills = [stream.spilled(path) for path in stream.spills]
    total = sum(int((verdict[rows["number"]] == KEPT).sum()) for _, rows in spills)
    wanted = held_out(total, number)
    keys, numbers = [], []
    for spill_keys, rows in spills:
        kept = np.flatnonzero(verdict[rows["number"]] == KEPT)
        kept = kept[len(kept) - min(wanted, len(kept)) :]
        keys.append(spill_keys[kept])
        numbers.append(rows["number"][kept])
    order = np.argsort(np.concatenate(keys), kind="stable")
    return np.concatenate(numbers)[order][len(order) - wanted :][::-1]


def _leave_out_among(last, verdicts, sides):
    """(whether any record is left out, (list of (group, number) that stay held out, their sorted keys)).

    The records that come first when any number is held out stay: the last of all streams, then those before them.
    """
    keys = {group: list(_keys_of(group, numbers, sides)) for group, numbers in _by_group(last)}
    by_number = {(group, int(number)): row for group, found in keys.items() for number, row in found}
    ranked = sorted(
        (rank, stream, group, int(number))
        for stream, (group, numbers) in enumerate(last)
        for rank, number in enumerate(numbers)
    )
    seen: set[int] = set()
    stay: list[tuple[str, int]] = []
    for _, _, group, number in ranked:
        row = by_number[group, number]
        if seen.isdisjoint(row):
            seen.update(row)
            stay.append((group, number))
        else:
            verdicts[group][number] = HELD_OUT
    return len(stay) < len(ranked), (stay, np.array(sorted(seen), np.uint64))


def _leave_out_others(held, verdicts, sides):
    """Whether any record is left out because it shares a side with one of `held`."""
    stay, keys = held
    held_numbers: dict[str, list[int]] = {}
    for group, number in stay:
        held_numbers.setdefault(group, []).append(number)
    changed = False
    for part in sides:
        verdict = verdicts.get(part.group)
        if verdict is None:
            continue
        shares = np.isin(part.keys(), keys).any(axis=1)
        numbers = part.first + np.flatnonzero(shares)
        numbers = numbers[(verdict[numbers] == KEPT) & ~np.isin(numbers, held_numbers.get(part.group, []))]
        verdict[numbers] = HELD_OUT
        changed |= bool(len(numbers))
    return changed


def _by_group(last: Iterable[tuple[str, Array]]) -> Iterator[tuple[str, Array]]:
    groups: dict[str, list[Array]] = {}
    for group, numbers in last:
        groups.setdefault(group, []).append(numbers)
    for group, found in groups.items():
        yield group, np.sort(np.concatenate(found))


def _keys_of(group: str, numbers: Array, sides: Sequence[Sides]) -> Iterator[tuple[int, list[Any]]]:
    """Yields (number, list of keys) of the records of a group with such `numbers` (sorted)."""
    for part in sides:
        if part.group == group:
            keys = part.keys()
            start, end = np.searchsorted(numbers, [part.first, part.first + len(keys)])
            chosen = numbers[start:end]
            yield from zip(chosen.tolist(), keys[chosen - part.first].tolist(), strict=True)
