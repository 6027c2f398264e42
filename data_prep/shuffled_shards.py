"""The records of a stream, shuffled as a whole, in shard files of about a chosen size."""

import hashlib

from infoxlm_keras.data.manifest import Shard, Stream
from infoxlm_keras.data.stateless_random import random_key, random_permutation


class ShuffledShards:
    """Collects one stream's records and writes them in an order that depends on the seed and the stream only.

    Args:
        name: str, the language or pair.
        length: int, the stream's block length or bucket bound.
        stem: str, file names are `<name>/<stem>-00000-of-00001.tfrecord`.
        seed: int.
    """

    def __init__(self, name, length, stem, seed):
        self.name = name
        self.length = length
        self.stem = stem
        self.key = random_key(seed, "shards", name, stem)
        self.records = []
        self.tokens = 0
        self.unknown_tokens = 0

    def add(self, record, tokens, unknown_tokens):
        """Adds a framed record (bytes) and its counts."""
        self.records.append(record)
        self.tokens += tokens
        self.unknown_tokens += unknown_tokens

    def write(self, directory, shard_bytes):
        """Writes the shards below `directory` (path) and returns the `Stream`.

        The number of shards is the least that keeps them near `shard_bytes`; records are spread evenly over them.
        """
        count = len(self.records)
        shards = min(count, max(1, -(-sum(map(len, self.records)) // shard_bytes)))
        order = random_permutation(self.key, count)
        (directory / self.name).mkdir(exist_ok=True)
        written = []
        for shard in range(shards):
            path = f"{self.name}/{self.stem}-{shard:05d}-of-{shards:05d}.tfrecord"
            chosen = order[shard * count // shards : (shard + 1) * count // shards]
            data = b"".join(self.records[index] for index in chosen.tolist())
            (directory / path).write_bytes(data)
            written.append(Shard(path, len(chosen), len(data), hashlib.sha256(data).hexdigest()))
        return Stream(self.name, self.length, count, self.tokens, self.unknown_tokens, tuple(written))
