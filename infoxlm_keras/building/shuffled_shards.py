"""The global shuffle: each record gets a random number, each shard a range of these numbers and their order.

A record's number depends only on the seed and on the record's place in the input. So every process or machine can
compute the shard of a record without the other records, and a shard is written from its own records alone.
"""

import hashlib
import os

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.files.written_files import new_file
from infoxlm_keras.stateless_random import fold, random_bits, random_key

# The number of records in a shard is random; with a smaller mean than this, a shard might be empty.
LEAST_RECORDS = 8
BLOCK_BYTES = 1 << 20


def shard_stem(kind: str, name: str, length: int) -> str:
    """What the file names of a stream's shards begin with: its language, or its bucket's bound."""
    return name if kind == "mmlm" else f"length-{length:03d}"


def shard_path(name: str, stem: str, shard: int, shards: int) -> str:
    """Path of shard number `shard` of `shards`, relative to the manifest."""
    return f"{name}/{stem}-{shard:05d}-of-{shards:05d}.tfrecord"


def record_keys(kind: str, seed: int, name: str, file_number: int, chunk_number: int, lengths: Array) -> Array:
    """The random numbers of a chunk's records.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        seed: int.
        name: str, the language or pair.
        file_number: int, number of the reader among those of `name`.
        chunk_number: int, number of the chunk among the reader's.
        lengths: int array [records], the stream of each record.

    Returns:
        uint64 [records].
    """
    keys = np.empty(len(lengths), np.uint64)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        key = random_key(seed, "shards", name, shard_stem(kind, name, length))
        keys[chosen] = random_bits(fold(key, file_number, chunk_number), chosen)
    return keys


def number_of_shards(records: int, size: int, shard_bytes: int) -> int:
    """The least number of shards that keeps `size` bytes in `records` records near `shard_bytes` each."""
    return max(1, min(-(-size // shard_bytes), records // LEAST_RECORDS))


def range_starts(parts: int) -> Array:
    """uint64 [parts]: the first number of each of `parts` equal ranges of all 64-bit numbers."""
    return np.array([range_of(part, parts)[0] for part in range(parts)], np.uint64)


def range_of(part: int, parts: int) -> tuple[int, int]:
    """(first, last) number of range `part` of `range_starts(parts)`, int."""
    return -(-(part << 64) // parts), -(-(part + 1 << 64) // parts) - 1


def write_shard(
    path: PathLike, keys: Array, starts: Array, sizes: Array, buffer: bytes | bytearray | memoryview
) -> tuple[int, str]:
    """Writes the records of one shard in the order of their numbers, atomically.

    Args:
        path: path of the file.
        keys: uint64 [records], see `record_keys`; equal ones stay in the order given.
        starts, sizes: integer arrays [records], where each framed record lies in `buffer`.
        buffer: bytes-like.

    Returns:
        (bytes, sha256 in hexadecimal) of the file.
    """
    order = np.argsort(keys, kind="stable")
    ends, view, digest = starts + sizes, memoryview(buffer), hashlib.sha256()
    total = int(sizes.sum())
    temporary = f"{path}.partial-{os.getpid()}"
    try:
        with new_file(temporary) as file:
            for part in np.array_split(order, total // BLOCK_BYTES + 1):
                bounds = zip(starts[part].tolist(), ends[part].tolist(), strict=True)
                block = b"".join([view[start:end] for start, end in bounds])
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
    return total, digest.hexdigest()
