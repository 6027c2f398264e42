"""Which records are for training and which are held out for validation.

The place of a record alone decides, not the seed or the task. The builders shuffle each stream as a whole, so its last
records are a random sample of it. TLM and XLCO read the same pairs and hold out the same ones. Blocks of one document
may be in both splits, because blocks are shuffled too.
"""

import dataclasses

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.records.manifest import Manifest

SPLITS = ("train", "validation")
# At least nine tenths of a small language's records stay for training.
LEAST_TRAINING_RECORDS_PER_VALIDATION_RECORD = 9


@dataclasses.dataclass(frozen=True)
class StreamPart:
    """The records of one stream that belong to a split: a run of records in each of some shards.

    Attributes:
        name: str, language or language pair.
        length: int, as of `infoxlm_keras.records.manifest.Stream`.
        first_shard: int, number of the first shard of the part within the stream.
        paths: list of str, paths or addresses of its shards.
        firsts: int64 [shards], records to pass over at the beginning of each shard.
        sizes: int64 [shards], records of each shard that belong to the part.
    """

    name: str
    length: int
    first_shard: int
    paths: list[str]
    firsts: Array
    sizes: Array

    @property
    def records(self) -> int:
        """int: records of the part."""
        return int(self.sizes.sum())


def held_out(records: int, validation_records: int) -> int:
    """int: how many of a stream's `records` are held out if `validation_records` are asked for, a tenth at most."""
    return min(validation_records, records // (LEAST_TRAINING_RECORDS_PER_VALIDATION_RECORD + 1))


def stream_parts(manifest: Manifest, split: str = "train", validation_records: int = 0) -> list[StreamPart]:
    """The part of each stream of `manifest` that belongs to `split`, in the manifest's order.

    Args:
        manifest: `Manifest`.
        split: "train" or "validation".
        validation_records: int >= 0, records held out of each stream (language, or pair and bucket); see `held_out`.

    Returns:
        list of `StreamPart`s, without streams of which nothing is in the split.

    Raises:
        InputError: if no stream has a record in the split.
    """
    if split not in SPLITS:
        raise InputError(f"split = {split!r}: must be one of {', '.join(SPLITS)}")
    if validation_records < 0:
        raise InputError(f"validation_records = {validation_records}: must not be negative")
    parts = [_part(manifest, stream, split, validation_records) for stream in manifest.streams]
    parts = [part for part in parts if part.records]
    if not parts:
        raise InputError(
            f"{manifest.directory}: validation_records = {validation_records} holds out no record (of a "
            "stream a tenth at most); raise it, or give more text"
        )
    return parts


def _part(manifest, stream, split, validation_records):
    ends = np.cumsum([shard.records for shard in stream.shards])
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    boundary = stream.records - held_out(stream.records, validation_records)
    begin, end = (0, boundary) if split == "train" else (boundary, stream.records)
    lows, highs = np.clip(starts, begin, end), np.clip(ends, begin, end)
    used = np.flatnonzero(highs > lows)
    first, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
    paths = [manifest.shard_path(shard) for shard in stream.shards[first:stop]]
    inside = slice(first, stop)
    return StreamPart(
        stream.name, stream.length, first, paths, (lows - starts)[inside], (highs - lows)[inside].astype(np.int64)
    )
