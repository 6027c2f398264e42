"""The builders' work as an Apache Beam pipeline: the same functions, the same random numbers, the same shards.

    readers -> chunks -> EncodedChunk -> verdicts on duplicates -> records by shard -> shard files

Whole chunks travel between the steps and, for each chunk and shard, the chunk's records for the shard. A place is
(number of the reader, number of the chunk): it identifies a chunk and its order.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import apache_beam as beam
import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.building.input_account import SourceCounts
from infoxlm_keras.building.repeated_records import DUPLICATE, KEPT, NEAR_DUPLICATE, compared_name
from infoxlm_keras.building.shuffled_shards import (
    number_of_shards,
    range_starts,
    record_keys,
    shard_path,
    shard_stem,
    write_shard,
)
from infoxlm_keras.building.spills import exact_keys, near_keys
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.written_files import new_file
from infoxlm_keras.records.manifest import Shard, Stream
from infoxlm_keras.system_errors import describe_os_error

if TYPE_CHECKING:
    from infoxlm_keras.building.encoded_chunk import EncodedChunk
    from infoxlm_keras.building.encoder import Encoder, SentenceEncoder
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.reader import Reader

SHARDS, SOURCES = "shards.json", "sources.json"
# (number of the reader, number of the chunk).
Place: TypeAlias = tuple[int, int]


def add_build(
    pipeline: beam.Pipeline,
    kind: str,
    readers: Sequence[Reader],
    encoder: Encoder,
    seed: int,
    shard_bytes: int,
    directory: str,
) -> None:
    """Adds the whole build to `pipeline`.

    Args:
        pipeline: `beam.Pipeline`.
        kind: `"mmlm"` or `"bitext"`.
        readers: list of readers, those of one name together; the machines that run the pipeline can open their files.
        encoder: see `LocalBuild`.
        seed: int.
        shard_bytes: int.
        directory: str, an existing folder that these machines and this one share. Shards are written below it, and
            what `read_results` reads.
    """
    names = [reader.name for reader in readers]
    groups = [compared_name(kind, name) for name in names]
    explicit = getattr(readers, "explicit", [True] * len(readers))
    file_numbers = [names[:number].count(name) for number, name in enumerate(names)]
    chunks = (
        pipeline
        | "Readers" >> beam.Create([(number, reader, explicit[number]) for number, reader in enumerate(readers)])
        | "Spread readers" >> beam.Reshuffle()
        | "Read" >> beam.FlatMapTuple(read_chunks)
        | "Spread chunks" >> beam.Reshuffle()
    )
    if encoder.deduplicate:
        sentence_encoder = cast("SentenceEncoder", encoder)
        digests = chunks | "Digests" >> beam.MapTuple(lambda place, item: (place, sentence_encoder.digests(*item)))
        sizes = digests | "Sentence counts" >> beam.MapTuple(lambda place, keys: (place, len(keys)))
        repeated = (
            digests
            | "Sentence keys" >> beam.FlatMap(lambda item: keyed(item[0], item[1], groups))
            | "Group sentences" >> beam.GroupByKey()
            | "Repeated sentences" >> beam.FlatMapTuple(all_but_first)
        )
        chunks = {"chunk": chunks, "size": sizes, "repeated": repeated} | "Join sentences" >> beam.CoGroupByKey()
        encoded = chunks | "Encode" >> beam.MapTuple(
            lambda place, parts: (place, encode_without(sentence_encoder, **parts))
        )
    else:
        encoded = chunks | "Encode" >> beam.MapTuple(lambda place, item: (place, encoder(*item)))
    judged = judge(encoded | "Keep encoded" >> beam.Reshuffle(), groups) | "Keep judged" >> beam.Reshuffle()

    shards = (
        judged
        | "Sizes" >> beam.FlatMap(lambda item: sizes_of_chunk(item[0], item[1], names))
        | "Total sizes" >> beam.CombinePerKey(add_pairs)
        | "Numbers of shards"
        >> beam.MapTuple(lambda stream, total: (stream, number_of_shards(total[0], total[1], shard_bytes)))
    )
    written = (
        judged
        | "To shards"
        >> beam.FlatMap(
            lambda item, shards: records_by_shard(item[0], item[1], kind, seed, names, file_numbers, shards),
            beam.pvalue.AsDict(shards),
        )
        | "Gather shards" >> beam.GroupByKey()
        | "Write shards" >> beam.Map(lambda item: write_gathered(item[0], item[1], kind, directory))
    )
    counts = (
        judged
        | "Counts" >> beam.MapTuple(lambda place, parts: (place[0], (place[1], *counts_of_chunk(*parts))))
        | "Counts by reader" >> beam.GroupByKey()
        | "Sorted counts" >> beam.MapTuple(lambda number, parts: [number, sorted(parts, key=lambda part: part[0])])
    )
    for file, results in ((SHARDS, written), (SOURCES, counts)):
        (
            results
            | f"List {file}" >> beam.combiners.ToList()
            | f"Write {file}" >> beam.Map(write_list, os.path.join(directory, file))
        )


def read_results(directory: PathLike, kind: str, readers: Sequence[Reader]) -> tuple[list[Stream], list[SourceCounts]]:
    """What a finished pipeline made: (list of `Stream`, list of `SourceCounts`, one a reader); removes its notes."""
    shards, sources = (json.loads(_take(os.path.join(directory, file))) for file in (SHARDS, SOURCES))
    lines: dict[tuple[str, int, int], dict[int, list[Any]]] = {}
    for name, length, shard, count, *line in shards:
        lines.setdefault((name, length, count), {})[shard] = line
    streams = []
    for (name, length, count), written in sorted(lines.items()):
        for shard in {*range(count)} - {*written}:
            # Nothing comes from a group of nothing: a shard that no record fell to.
            nothing = (np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), b"")
            path = os.path.join(directory, shard_path(name, shard_stem(kind, name, length), shard, count))
            written[shard] = [0, *write_shard(path, *nothing), 0, 0]
        records, _, _, tokens, unknown = zip(*written.values(), strict=True)
        paths = (shard_path(name, shard_stem(kind, name, length), shard, count) for shard in range(count))
        described = tuple(Shard(path, *written[shard][:3]) for shard, path in enumerate(paths))
        streams.append(Stream(name, length, sum(records), sum(tokens), sum(unknown), described))
    counts = [SourceCounts() for _ in readers]
    for number, parts in sources:
        for _, values, repeats in parts:
            counts[number].add(SourceCounts(**values))
            for reason, amount in repeats:
                counts[number].drop(reason, amount)
    return streams, counts


@beam.typehints.no_annotations
def read_chunks(number: int, reader: Reader, explicit: bool = True) -> Iterator[tuple[Place, tuple[Reader, Chunk]]]:
    """((number, chunk number), (reader, chunk)) of all chunks of a reader.

    Raises:
        InputError: if it has none although its text was given by name (`explicit`).
    """
    chunk_number = -1
    for chunk_number, chunk in enumerate(reader.chunks()):
        yield (number, chunk_number), (reader, chunk)
    if chunk_number < 0 and explicit:
        raise InputError(f"{reader.files[0]}: is empty; remove it from --input, or fetch it again")


def keyed(place: Place, keys: Array, groups: Sequence[str]) -> Iterator[tuple[tuple[str, int], tuple[Place, int]]]:
    """((group, key), (place, index)) of each of a chunk's keys (uint64)."""
    for index, key in enumerate(keys.tolist()):
        yield (groups[place[0]], key), (place, index)


@beam.typehints.no_annotations
def all_but_first(_: object, found: Iterable[tuple[Place, int]]) -> list[tuple[Place, int]]:
    """(place, index) of all but the earliest of `found`."""
    return sorted(found)[1:]


def encode_without(
    encoder: SentenceEncoder, chunk: Iterable[tuple[Reader, Chunk]], size: Iterable[int], repeated: Iterable[int]
) -> EncodedChunk:
    """`EncodedChunk` without the sentences whose numbers are in `repeated`; all three are iterables, as joined."""
    (item,), (count,) = chunk, size
    flags = np.zeros(count, bool)
    flags[list(repeated)] = True
    return encoder(*item, flags)


def judge(encoded: beam.PCollection, groups: Sequence[str]) -> beam.PCollection:
    """(place, (`EncodedChunk`, uint8 [records])): each record's verdict as `find_duplicates` gives it.

    Args:
        encoded: collection of (place, `EncodedChunk`).
        groups: list of str, one a reader; the records of readers of equal ones are compared (`compared_name`).
    """
    exact = (
        encoded
        | "Exact keys"
        >> beam.FlatMapTuple(lambda place, chunk: keyed(place, exact_keys(chunk.identities or []), groups))
        | "Group exact" >> beam.GroupByKey()
        | "Duplicates" >> beam.FlatMapTuple(all_but_first)
    )
    near = (
        encoded
        | "Near keys" >> beam.FlatMap(lambda item: keyed_near(item[0], item[1], groups))
        | "Group near" >> beam.GroupByKey()
        | "Shared keys" >> beam.FlatMapTuple(shared_key)
        | "Shared by group" >> beam.GroupByKey()
        | "Near duplicates" >> beam.FlatMapTuple(near_duplicates)
    )
    joined = {"chunk": encoded, "exact": exact, "near": near} | "Join verdicts" >> beam.CoGroupByKey()
    return joined | "Judge" >> beam.MapTuple(lambda place, parts: (place, with_verdict(**parts)))


def keyed_near(
    place: Place, chunk: EncodedChunk, groups: Sequence[str]
) -> Iterator[tuple[tuple[str, int], tuple[Place, int]]]:
    """((group, key), (place, index)) of each record's near keys, each key once a record."""
    keys, counts = near_keys(chunk.near_identities or [])
    indices = np.repeat(np.arange(len(counts)), counts)
    for index, key in sorted(set(zip(indices.tolist(), keys.tolist(), strict=True))):
        yield (groups[place[0]], key), (place, index)


@beam.typehints.no_annotations
def shared_key(
    group_and_key: tuple[str, int], found: Iterable[tuple[Place, int]]
) -> Iterator[tuple[str, list[tuple[Place, int]]]]:
    """(group, list of (place, index)) of a key that several records have."""
    found = list(found)
    if len(found) > 1:
        yield group_and_key[0], found


@beam.typehints.no_annotations
def near_duplicates(_: object, groups: Iterable[Sequence[tuple[Place, int]]]) -> Iterator[tuple[Place, int]]:
    """(place, index) of the records to leave out, going through those that share a key in the order of the input.

    Args:
        groups: iterable of lists of (place, index), the records of each shared key of a group. One machine holds them
            in memory; records that share no key are not among them.
    """
    keys: dict[tuple[Place, int], list[int]] = {}
    for number, group in enumerate(groups):
        for record in group:
            keys.setdefault(record, []).append(number)
    taken: set[int] = set()
    for record in sorted(keys):
        if taken.isdisjoint(keys[record]):
            taken.update(keys[record])
        else:
            yield record


def with_verdict(
    chunk: Iterable[EncodedChunk], exact: Iterable[int], near: Iterable[int]
) -> tuple[EncodedChunk, Array]:
    """(`EncodedChunk`, verdicts) from the joined chunk and the numbers of its duplicates."""
    (encoded,) = chunk
    verdict = np.full(len(encoded.records), KEPT, np.uint8)
    verdict[list(near)] = NEAR_DUPLICATE
    verdict[list(exact)] = DUPLICATE
    return encoded, verdict


def sizes_of_chunk(
    place: Place, parts: tuple[EncodedChunk, Array], names: Sequence[str]
) -> Iterator[tuple[tuple[str, int], tuple[int, int]]]:
    """((name, length), (records, bytes)) of a chunk's records that stay."""
    chunk, verdict = parts
    sizes, lengths = np.array([len(record) for record in chunk.records], np.int64), np.asarray(chunk.lengths)
    for length in np.unique(lengths[verdict == KEPT]).tolist():
        chosen = (lengths == length) & (verdict == KEPT)
        yield (names[place[0]], length), (int(chosen.sum()), int(sizes[chosen].sum()))


@beam.typehints.no_annotations
def add_pairs(pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Sums of the first and of the second of each pair."""
    return tuple(map(sum, zip(*pairs, strict=True))) or (0, 0)


def counts_of_chunk(chunk: EncodedChunk, verdict: Array) -> tuple[dict[str, Any], list[list[Any]]]:
    """(dict of `SourceCounts`, list of [reason, number of repeats]) of a chunk."""
    found = np.bincount(verdict, chunk.record_sentences, minlength=3)
    repeats = [["duplicate", int(found[DUPLICATE])]] if chunk.identities else []
    if chunk.near_identities:
        repeats.append(["near_duplicate", int(found[NEAR_DUPLICATE])])
    counts = SourceCounts()
    counts.add(chunk)
    return dataclasses.asdict(counts), repeats


def records_by_shard(
    place: Place,
    parts: tuple[EncodedChunk, Array],
    kind: str,
    seed: int,
    names: Sequence[str],
    file_numbers: Sequence[int],
    shards: Mapping[tuple[str, int], int],
) -> Iterator[tuple[tuple[str, int, int, int], tuple[Place, Array, int, int, list[bytes]]]]:
    """((name, length, shard, shards), (place, keys, tokens, unknown tokens, records)) of a chunk's records."""
    chunk, verdict = parts
    name, lengths = names[place[0]], np.asarray(chunk.lengths)
    keys = record_keys(kind, seed, name, file_numbers[place[0]], place[1], lengths)
    for length in np.unique(lengths[verdict == KEPT]).tolist():
        chosen = np.flatnonzero((lengths == length) & (verdict == KEPT))
        number = shards[name, length]
        shard = np.searchsorted(range_starts(number), keys[chosen], side="right") - 1
        for part in np.unique(shard).tolist():
            some = chosen[shard == part]
            tokens, unknown = int(chunk.tokens[some].sum()), int(chunk.unknown_tokens[some].sum())
            records = [chunk.records[index] for index in some.tolist()]
            yield (name, length, part, number), (place, keys[some], tokens, unknown, records)


def write_gathered(
    shard_key: tuple[str, int, int, int],
    parts: Iterable[tuple[Place, Array, int, int, list[bytes]]],
    kind: str,
    directory: str,
) -> list[Any]:
    """Writes one shard from what all chunks have for it; returns its line for `read_results`."""
    name, length, shard, shards = shard_key
    parts = sorted(parts, key=lambda part: part[0])
    records = [record for part in parts for record in part[4]]
    sizes = np.array([len(record) for record in records], np.int64)
    path = shard_path(name, shard_stem(kind, name, length), shard, shards)
    os.makedirs(os.path.join(directory, name), exist_ok=True)
    keys = np.concatenate([part[1] for part in parts])
    with _disk_errors():
        size, digest = write_shard(
            os.path.join(directory, path), keys, np.cumsum(sizes) - sizes, sizes, b"".join(records)
        )
    tokens, unknown = sum(part[2] for part in parts), sum(part[3] for part in parts)
    return [name, length, shard, shards, len(records), size, digest, tokens, unknown]


@beam.typehints.no_annotations
def write_list(values: list[Any], path: str) -> None:
    """Writes a list as JSON, atomically: a step may run twice, on two machines."""
    temporary = f"{path}.{uuid.uuid4().hex}"
    with _disk_errors(), new_file(temporary) as file:
        file.write(json.dumps(values).encode())
    os.replace(temporary, path)


@contextlib.contextmanager
def _disk_errors():
    """Turns an `OSError` into an `InputError`, the only kind whose message comes through every runner as it is."""
    try:
        yield
    except OSError as error:
        raise InputError(describe_os_error(error)) from None


def _take(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    os.remove(path)
    return text
