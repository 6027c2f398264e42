"""Statistics of prepared records, without TensorFlow: tokens, lengths, unknown tokens, padding."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.language_sampling import stream_probabilities
from infoxlm_keras.records.manifest import BUILDERS, FILE_NAME, Manifest, Stream
from infoxlm_keras.records.tfrecord import read_frames
from infoxlm_keras.tokenizer import UNKNOWN_ID

FEATURES = {"mmlm": ("token_ids",), "bitext": ("source_ids", "target_ids")}
MOST_VARINT_BYTES = 10
PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclasses.dataclass(frozen=True)
class StreamStatistics:
    """Counts of the records read of one stream.

    Attributes:
        lengths: int64 [records], tokens of each record (of both sides together).
        unknown: int, unknown tokens among them.
        samples: list of (dict of feature to int array), the first records.
    """

    lengths: Array
    unknown: int
    samples: list[dict[str, Array]]


def parse_example(data: bytes) -> dict[str, Array]:
    """dict of feature name to int64 array of a serialized `tf.train.Example` that holds integer lists only.

    Raises:
        InputError: if `data` is no such message.
    """
    features = {}
    try:
        for number, features_message in _fields(data):
            if number != 1:
                continue
            for _, entry in _fields(features_message):
                parts = dict(_fields(entry))
                lists = dict(_fields(parts.get(2, b"")))
                packed = dict(_fields(lists.get(3, b""))).get(1, b"")
                features[parts[1].decode()] = decode_varints(packed)
    except (IndexError, KeyError, UnicodeDecodeError, TypeError):
        raise InputError("a record is no tf.train.Example of integer lists") from None
    return features


def decode_varints(data: bytes) -> Array:
    """int64 array of protocol-buffer varints laid end to end in `data` (bytes).

    Raises:
        IndexError: if the last one, or one of more than ten bytes, does not end.
    """
    values = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(values < 0x80)
    if len(values) and (values[-1] >= 0x80 or np.diff(ends, prepend=-1).max() > MOST_VARINT_BYTES):
        raise IndexError("a number that does not end")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    if len(ends) == 0:
        return np.zeros(0, np.int64)
    places = np.arange(len(values)) - np.repeat(starts, ends - starts + 1)
    parts = (values & 0x7F).astype(np.uint64) << (7 * places[: ends[-1] + 1]).astype(np.uint64)
    return np.add.reduceat(parts, starts).view(np.int64)


def read_stream(manifest: Manifest, stream: Stream, limit: int | None, samples: int) -> StreamStatistics:
    """`StreamStatistics` of the first `limit` records of a `Stream` (shuffled by the builders); None reads all.

    Raises:
        InputError: if a shard is damaged, holds other records than its manifest says, or token ids outside of the
            vocabulary; names it and the byte offset.
    """
    lengths: list[int] = []
    kept: list[dict[str, Array]] = []
    unknown = 0
    remedy = f"copy the file again, or build the records again with {BUILDERS[manifest.kind]}"
    for shard in stream.shards:
        if limit is not None and len(lengths) == limit:
            break
        path, before = manifest.shard_path(shard), len(lengths)
        for offset, data in read_frames(path):
            if limit is not None and len(lengths) == limit:
                break
            try:
                features = parse_example(data)
            except InputError as error:
                raise InputError(f"{path}: record at byte {offset}: {error}; {remedy}") from None
            if any(name not in features for name in FEATURES[manifest.kind]):
                raise InputError(f"{path}: record at byte {offset} lacks {' or '.join(FEATURES[manifest.kind])}")
            lists = [features[name] for name in FEATURES[manifest.kind]]
            vocabulary_size = manifest.tokenizer.vocabulary_size
            for values in lists:
                outside = values[(values < 0) | (values >= vocabulary_size)]
                if len(outside):
                    raise InputError(
                        f"{path}: record at byte {offset} holds token id {outside[0]}, but its vocabulary has "
                        f"{vocabulary_size} ids; {remedy}"
                    )
            lengths.append(sum(map(len, lists)))
            unknown += sum(int((values == UNKNOWN_ID).sum()) for values in lists)
            if len(kept) < samples:
                kept.append(features)
        else:
            if len(lengths) - before != shard.records:
                raise InputError(
                    f"{path}: holds {len(lengths) - before} records, but its manifest says {shard.records}; {remedy}"
                )
    if limit is None and (sum(lengths), unknown) != (stream.tokens, stream.unknown_tokens):
        raise InputError(
            f"{manifest.directory / FILE_NAME}: stream {stream.name} of length {stream.length} says {stream.tokens} "
            f"tokens, {stream.unknown_tokens} of them unknown, its records hold {sum(lengths)} and {unknown}; {remedy}"
        )
    return StreamStatistics(np.array(lengths, np.int64), unknown, kept)


def describe(manifest: Manifest, statistics: Sequence[StreamStatistics], language_exponent: float) -> dict[str, Any]:
    """A dict, ready for JSON, of what `statistics` (a `StreamStatistics` for each stream) say.

    Padding waste is the share of positions that hold no token in a batch of full width: of a block (mmlm), of TLM's
    `<s> source </s> target </s>` (bitext). Overall it is the expectation under the sampling probabilities.
    """
    names = sorted({stream.name for stream in manifest.streams})
    totals = {name: sum(s.records for s in manifest.streams if s.name == name) for name in names}
    shares = np.array(list(totals.values())) / sum(totals.values())
    probabilities = stream_probabilities(totals, language_exponent)
    languages, buckets = {}, {}
    for name, share in zip(names, shares, strict=True):
        own = [(s, found) for s, found in zip(manifest.streams, statistics, strict=True) if s.name == name]
        lengths = np.concatenate([found.lengths for _, found in own])
        languages[name] = {
            "records": totals[name],
            "tokens": sum(stream.tokens for stream, _ in own),
            "unknown_rate": sum(s.unknown_tokens for s, _ in own) / max(1, sum(s.tokens for s, _ in own)),
            "records_read": len(lengths),
            "length_percentiles": {str(p): float(np.percentile(lengths, p)) for p in PERCENTILES},
            "share": float(share),
            "sampling_probability": probabilities[name],
        }
    filled, positions = 0.0, 0.0
    for length in manifest.lengths:
        weights, means = [], []
        for stream, found in zip(manifest.streams, statistics, strict=True):
            if stream.length == length and len(found.lengths):
                weights.append(probabilities[stream.name] * stream.records / totals[stream.name])
                means.append(found.lengths.mean())
        if not weights:
            continue
        special, width = (0, length) if manifest.kind == "mmlm" else (3, 2 * length + 3)
        tokens = np.average(means, weights=weights) + special
        buckets[str(length)] = {"probability": float(sum(weights)), "padding_waste": float(1 - tokens / width)}
        filled += sum(weights) * tokens
        positions += sum(weights) * width
    return {
        "kind": manifest.kind,
        "records": sum(totals.values()),
        "language_exponent": language_exponent,
        "languages": languages,
        "buckets": buckets,
        "expected_padding_waste": float(1 - filled / positions),
    }


def _fields(message):
    """Yields (number, bytes) of the length-delimited fields of a protocol-buffer message."""
    place = 0
    while place < len(message):
        tag = message[place]
        if tag & 7 != 2:
            raise TypeError("not a length-delimited field")
        place, size, shift = place + 1, 0, 0
        while True:
            byte = message[place]
            place += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if place + size > len(message):
            raise IndexError("field beyond the end")
        yield tag >> 3, message[place : place + size]
        place += size
