"""What a build keeps on disk between its steps: runs of many chunks' records, or of their digests, sorted by key.

A run holds whole chunks of one reader. Its files begin with the same path:

    <path>-<length>.keys.npy, .rows.npy, .records    the records of a stream: random numbers, `ROW`s, framed bytes
    <path>.exact.*, <path>.near.*                    keys that duplicates share, and the records' numbers
"""

import dataclasses
import hashlib
import os

import numpy as np

from data_prep.duplicates import KEPT
from data_prep.shuffled_shards import range_of, record_keys, write_shard
from data_prep.sorted_files import read_range, read_rows, write_sorted
from data_prep.sources import SourceCounts

# A run is written once it holds so many bytes; they are in memory until then.
RUN_BYTES = 16 << 20
# `number` counts the records of a name in the order of the input.
ROW = np.dtype(
    [("start", np.int64), ("size", np.int64), ("number", np.int64), ("tokens", np.int32), ("unknown", np.int32)]
)


class DigestRun:
    """Digests of the sentences of consecutive chunks.

    Attributes:
        size: int, bytes it will take.
        chunks: int, chunks added.
    """

    def __init__(self):
        self._digests = []

    @property
    def chunks(self):
        return len(self._digests)

    @property
    def size(self):
        return 16 * sum(map(len, self._digests))

    def add(self, chunk_number, digests):
        """Adds a chunk's digests, uint64 [sentences]."""
        self._digests.append(digests)

    def write(self, path, first):
        """Writes the files; `first` is the number of the first sentence. Returns what the journal notes."""
        digests = np.concatenate(self._digests)
        if len(digests):
            write_sorted(f"{path}.exact", digests, np.arange(first, first + len(digests)))
        return {"count": len(digests), "chunk_counts": [len(part) for part in self._digests]}


class RecordRun:
    """Records of consecutive chunks of one reader.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        seed: int, of the shuffle.
        name: str, the language or pair.
        file_number: int, number of the reader among those of `name`.
    """

    def __init__(self, kind, seed, name, file_number):
        self.kind, self.seed, self.name, self.file_number = kind, seed, name, file_number
        self.chunks = self.size = 0
        self._records, self._columns, self._exact, self._near = [], [], [], []
        self._counts = SourceCounts()

    def add(self, chunk_number, encoded):
        """Adds an `EncodedChunk`."""
        lengths = np.asarray(encoded.lengths)
        keys = record_keys(self.kind, self.seed, self.name, self.file_number, chunk_number, lengths)
        self._columns.append((keys, lengths, encoded.tokens, encoded.unknown_tokens))
        self._records += encoded.records
        self._exact += encoded.identities or []
        self._near += encoded.near_identities or []
        self._counts.add(encoded)
        self.chunks += 1
        self.size += sum(map(len, encoded.records))

    def write(self, path, first):
        """Writes the files; `first` is the number of the first record. Returns what the journal notes."""
        keys, lengths, tokens, unknown = map(np.concatenate, zip(*self._columns, strict=True))
        sizes = np.fromiter(map(len, self._records), np.int64, count=len(self._records))
        for length in np.unique(lengths).tolist():
            chosen = np.flatnonzero(lengths == length)
            chosen = chosen[np.argsort(keys[chosen], kind="stable")]
            rows = np.empty(len(chosen), ROW)
            rows["start"] = np.cumsum(sizes[chosen]) - sizes[chosen]
            rows["size"], rows["number"] = sizes[chosen], first + chosen
            rows["tokens"], rows["unknown"] = tokens[chosen], unknown[chosen]
            write_sorted(f"{path}-{length}", keys[chosen], rows)
            with open(f"{path}-{length}.records", "wb") as file:
                file.writelines(self._records[index] for index in chosen.tolist())
                file.flush()
                os.fsync(file.fileno())
        if self._exact:
            write_sorted(f"{path}.exact", exact_keys(self._exact), first + np.arange(len(self._exact)))
        near, counts = near_keys(self._near)
        if len(near):
            write_sorted(f"{path}.near", near, first + np.repeat(np.arange(len(counts)), counts))
        return {
            "count": len(self._records),
            "lengths": np.unique(lengths).tolist(),
            "exact": len(self._exact),
            "near": len(near),
            "counts": dataclasses.asdict(self._counts),
        }


def exact_keys(identities):
    """uint64 [records] of `EncodedChunk.identities`."""
    return np.frombuffer(b"".join(identities), np.uint64)


def near_keys(near_identities):
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

    def totals(self):
        """(records, bytes, tokens, unknown tokens) of the records that stay, int."""
        verdict = self._verdict()
        totals = np.zeros(4, np.int64)
        for path in self.spills:
            rows = np.array(read_rows(path))
            if verdict is not None:
                rows = rows[verdict[rows["number"]] == KEPT]
            totals += [len(rows), rows["size"].sum(), rows["tokens"].sum(), rows["unknown"].sum()]
        return tuple(totals.tolist())

    def write_shard(self, path, shard, shards):
        """Writes shard number `shard` of `shards` to `path`; returns [records, bytes, sha256]."""
        verdict = self._verdict()
        keys, rows, bounds, total = [], [], [], 0
        for spill in self.spills:
            spill_keys, spill_rows = read_range(spill, *range_of(shard, shards))
            if len(spill_rows):
                begin, end = int(spill_rows["start"][0]), int(spill_rows["start"][-1] + spill_rows["size"][-1])
                spill_rows["start"] += total - begin
                bounds.append((spill, begin, total, total + end - begin))
                keys.append(spill_keys)
                rows.append(spill_rows)
                total += end - begin
        buffer = memoryview(bytearray(total))
        for spill, begin, start, end in bounds:
            with open(f"{spill}.records", "rb") as file:
                file.seek(begin)
                file.readinto(buffer[start:end])
        keys, rows = np.concatenate([np.empty(0, np.uint64), *keys]), np.concatenate([np.empty(0, ROW), *rows])
        if verdict is not None:
            kept = verdict[rows["number"]] == KEPT
            keys, rows = keys[kept], rows[kept]
        return [len(rows), *write_shard(path, keys, rows["start"], rows["size"], buffer)]

    def _verdict(self):
        return None if self.verdict is None else np.load(self.verdict, mmap_mode="r")
