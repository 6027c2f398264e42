"""Prepared records made on the spot: every record is different, and says which it is."""

import hashlib

import numpy as np

from infoxlm_keras.records.example_codec import encode_examples, frame_record
from infoxlm_keras.records.manifest import Manifest, Shard, Stream, TokenizerReference

LENGTH = 16
VOCABULARY_SIZE = 10_000


def block_of(language, number):
    """Token ids of record `number` of language number `language`: the number in four digits, then filling."""
    return [0, 10 + language, *(100 + int(digit) for digit in f"{number:05d}"), *[50] * (LENGTH - 8), 2]


def record_of(token_ids):
    """(language, number) of a block."""
    return int(token_ids[1]) - 10, int("".join(str(token_id - 100) for token_id in token_ids[2:7]))


def write_monolingual(directory, shard_sizes):
    """Writes blocks of several languages and returns their `Manifest`.

    Args:
        directory: path, existing.
        shard_sizes: list of lists of int, records of each shard of each language.
    """
    streams = []
    for language, sizes in enumerate(shard_sizes):
        shards, number = [], 0
        for shard, size in enumerate(sizes):
            rows = [block_of(language, number + place) for place in range(size)]
            number += size
            features = {"token_ids": (np.array(rows).reshape(-1), np.arange(size + 1) * LENGTH)}
            data = b"".join(map(frame_record, encode_examples(features)))
            path = f"l{language}-{shard}.tfrecord"
            (directory / path).write_bytes(data)
            shards.append(Shard(path, size, len(data), hashlib.sha256(data).hexdigest()))
        streams.append(Stream(f"l{language}", LENGTH, number, number * LENGTH, 0, tuple(shards)))
    return manifest_of(directory, streams)


def manifest_of(directory, streams):
    """`Manifest` of monolingual `streams`."""
    reference = TokenizerReference("sha256:0", VOCABULARY_SIZE, "tokenizer/vocabulary.spm")
    return Manifest("mmlm", 0, reference, (LENGTH,), tuple(streams), (), {}, directory)
