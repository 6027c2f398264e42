"""Intermediate files of a build: runs with the records, or the digests, of many chunks, sorted by key.

A run holds whole chunks of one name. Its files begin with the same path:

    <path>-<length>.keys.npy, .rows.npy, .records    the records of a stream: random numbers, `ROW`s, framed bytes
    <path>.exact.*, <path>.near.*                    keys that duplicates share, and the records' numbers
    <path>.sentences.npy                             how many sentences end in each record, where that is counted
    <path>.sides.npy                                 keys of each record's sides, where records are held out
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.building.input_account import SourceCounts
from infoxlm_keras.building.repeated_records import KEPT
from infoxlm_keras.building.shuffled_shards import range_of, record_keys, write_shard
from infoxlm_keras.building.sorted_files import SUFFIXES, read_range, read_rows, write_sorted
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.written_files import new_file

if TYPE_CHECKING:
    from infoxlm_keras.building.encoded_chunk import EncodedChunk

# A run stays in memory until it holds `RUN_BYTES` bytes or `RUN_CHUNKS` chunks; then it is written.
RUN_BYTES = 16 << 20
RUN_CHUNKS = 2000
# `number` counts the records of a name in the order of the input.
ROW = np.dtype(
    [("start", np.int64), ("size", np.int64), ("number", np.int64), ("tokens", np.int32), ("unknown", np.int32)]
)
SENTENCES = ".sentences.npy"
SIDES = ".sides.npy"


class DigestRun:
    """Digests of the sentences of consecutive chunks of one name.

    Attributes:
        size: int, bytes it will take.
        chunks: int, chunks added.
    """

    def __init__(self) -> None:
        self.size = self.chunks = 0
        self._parts: list[list[Array]] = []

    def begin_part(self, file_number: int) -> None:
        """What is added from here on is of another reader."""
        self._parts.append([])

    def add(self, chunk_number: int, digests: Array) -> None:
        """Adds a chunk's digests, uint64 [sentences]."""
        self._parts[-1].append(digests)
        self.chunks += 1
        self.size += 16 * len(digests)

    def write(self, path: str, first: int) -> dict[str, Any]:
        """Writes the files; `first` is the number of the first sentence.

        Returns:
            dict of JSON values: `count` (sentences), `parts` (`chunks`, `count` and `chunk_counts` of each reader's
            part), and `suffixes`, what is added to `path` for each file.
        """
        digests = np.concatenate([digests for part in self._parts for digests in part])
        suffixes = _write_keys(path, ".exact", digests, np.arange(first, first + len(digests)))
        counts = [[len(digests) for digests in part] for part in self._parts]
        parts = [{"chunks": len(part), "count": sum(part), "chunk_counts": part} for part in counts]
        return {"count": len(digests), "exact": len(digests), "parts": parts, "suffixes": suffixes}


class RecordRun:
    """Records of consecutive chunks of one name.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        seed: int, of the shuffle.
        name: str, the language or pair.

    Attributes:
        size: int, bytes of the records.
        chunks: int, chunks added.
    """

    def __init__(self, kind: str, seed: int, name: str) -> None:
        self.kind, self.seed, self.name = kind, seed, name
        self.chunks = self.size = 0
        self._records: list[bytes] = []
        self._columns: list[tuple[Array, Array, Array, Array]] = []
        self._exact: list[bytes] = []
        self._near: list[tuple[bytes, ...]] = []
        self._parts: list[dict[str, Any]] = []
        self._sentences: list[Array] = []
        self._sides: list[bytes] = []

    def begin_part(self, file_number: int) -> None:
        """What is added from here on is of reader number `file_number` (int) among those of the name."""
        self._file_number = file_number
        self._parts.append({"chunks": 0, "count": 0, "near": 0, "counts": SourceCounts()})

    def add(self, chunk_number: int, encoded: EncodedChunk) -> None:
        """Adds an `EncodedChunk`, the reader's chunk number `chunk_number` (int)."""
        lengths = np.asarray(encoded.lengths)
        keys = record_keys(self.kind, self.seed, self.name, self._file_number, chunk_number, lengths)
        self._columns.append((keys, lengths, encoded.tokens, encoded.unknown_tokens))
        self._records += encoded.records
        self._exact += encoded.identities or []
        self._near += encoded.near_identities or []
        if encoded.record_sentences is not None:
            self._sentences.append(encoded.record_sentences)
        self._sides += encoded.sides or []
        part = self._parts[-1]
        part["chunks"] += 1
        part["count"] += len(encoded.records)
        part["near"] += sum(map(len, encoded.near_identities or []))
        part["counts"].add(encoded)
        self.chunks += 1
        self.size += sum(map(len, encoded.records))

    def write(self, path: str, first: int) -> dict[str, Any]:
        """Writes the files; `first` is the number of the first record.

        Returns:
            dict of JSON values: `count` (records), `lengths` of the streams, numbers of `exact` and `near` keys,
            `parts` (`chunks`, `count`, `near` and `counts` of each reader's part), and `suffixes`, what is added to
            `path` for each file.
        """
        keys, lengths, tokens, unknown = map(np.concatenate, zip(*self._columns, strict=True))
        sizes = np.fromiter(map(len, self._records), np.int64, count=len(self._records))
        suffixes = []
        for length in np.unique(lengths).tolist():
            chosen = np.flatnonzero(lengths == length)
            chosen = chosen[np.argsort(keys[chosen], kind="stable")]
            rows = np.empty(len(chosen), ROW)
            rows["start"] = np.cumsum(sizes[chosen]) - sizes[chosen]
            rows["size"], rows["number"] = sizes[chosen], first + chosen
            rows["tokens"], rows["unknown"] = tokens[chosen], unknown[chosen]
            suffixes += _write_keys(path, f"-{length}", keys[chosen], rows)
            with new_file(f"{path}-{length}.records") as file:
                file.writelines(self._records[index] for index in chosen.tolist())
            suffixes.append(f"-{length}.records")
        suffixes += _write_keys(path, ".exact", exact_keys(self._exact), first + np.arange(len(self._exact)))
        near, counts = near_keys(self._near)
        suffixes += _write_keys(path, ".near", near, first + np.repeat(np.arange(len(counts)), counts))
        if self._sentences:
            with new_file(path + SENTENCES) as file:
                np.save(file, np.concatenate(self._sentences))
            suffixes.append(SENTENCES)
        if self._sides:
            with new_file(path + SIDES) as file:
                np.save(file, np.frombuffer(b"".join(self._sides), np.uint64).reshape(len(self._records), -1))
            suffixes.append(SIDES)
        return {
            "count": len(self._records),
            "lengths": np.unique(lengths).tolist(),
            "exact": len(self._exact),
            "near": len(near),
            "parts": [{**part, "counts": dataclasses.asdict(part["counts"])} for part in self._parts],
            "suffixes": suffixes,
        }


def _write_keys(path, suffix, keys, rows):
    """Writes sorted files unless there are no keys; returns what is added to `path` for each file."""
    if not len(keys):
        return []
    write_sorted(path + suffix, keys, rows)
    return [suffix + ending for ending in SUFFIXES]


def exact_keys(identities: Iterable[bytes]) -> Array:
    """uint64 [records] of `EncodedChunk.identities`."""
    return np.frombuffer(b"".join(identities), np.uint64)


def near_keys(near_identities: Sequence[tuple[bytes, ...]]) -> tuple[Array, Array]:
    """(keys, counts) of `EncodedChunk.near_identities`: uint64 [all keys], and int64 [records], how many each has."""
    counts = np.fromiter(map(len, near_identities), np.int64, count=len(near_identities))
    digests = [hashlib.blake2b(key, digest_size=8).digest() for keys in near_identities for key in keys]
    return np.frombuffer(b"".join(digests), np.uint64), counts


@dataclasses.dataclass(frozen=True)
class SpilledStream:
    """The records of one stream in all of its runs.

    Args:
        name: str.
        length: int.
        spills: tuple of str, paths of its runs' files, in the order of the input.
        verdict: str or None, file of `find_duplicates` for the records of `name`.
    """

    name: str
    length: int
    spills: tuple[str, ...]
    verdict: str | None

    def totals(self) -> tuple[int, ...]:
        """(records, bytes, tokens, unknown tokens) of the records that stay, int."""
        verdict = self._verdict()
        totals = np.zeros(4, np.int64)
        for path in self.spills:
            rows = np.array(read_rows(path))
            if verdict is not None:
                rows = rows[verdict[rows["number"]] == KEPT]
            totals += [len(rows), rows["size"].sum(), rows["tokens"].sum(), rows["unknown"].sum()]
        return tuple(totals.tolist())

    def spilled(self, path: str) -> tuple[Array, Array]:
        """(keys, rows) of all records in one of `spills`, sorted by key, mapped from the files."""
        return np.load(path + SUFFIXES[0], mmap_mode="r"), read_rows(path)

    def write_shard(self, path: str, shard: int, shards: int) -> list[Any]:
        """Writes shard number `shard` of `shards` to `path`; returns [records, bytes, sha256]."""
        verdict = self._verdict()
        key_parts, row_parts, bounds, total = [], [], [], 0
        for spill in self.spills:
            spill_keys, spill_rows = read_range(spill, *range_of(shard, shards))
            if len(spill_rows):
                begin, end = int(spill_rows["start"][0]), int(spill_rows["start"][-1] + spill_rows["size"][-1])
                spill_rows["start"] += total - begin
                bounds.append((spill, begin, total, total + end - begin))
                key_parts.append(spill_keys)
                row_parts.append(spill_rows)
                total += end - begin
        buffer = memoryview(bytearray(total))
        for spill, begin, start, end in bounds:
            with open(f"{spill}.records", "rb") as file:
                file.seek(begin)
                found = file.readinto(buffer[start:end])
            if found != end - start:
                raise InputError(
                    f"{spill}.records: ends {end - start - found} bytes too early: it was changed during the build; "
                    "run the command again"
                )
        keys = np.concatenate([np.empty(0, np.uint64), *key_parts])
        rows = np.concatenate([np.empty(0, ROW), *row_parts])
        if verdict is not None:
            kept = verdict[rows["number"]] == KEPT
            keys, rows = keys[kept], rows[kept]
        return [len(rows), *write_shard(path, keys, rows["start"], rows["size"], buffer)]

    def _verdict(self):
        return None if self.verdict is None else np.load(self.verdict, mmap_mode="r")
