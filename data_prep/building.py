"""Readers -> workers -> shuffled shards -> manifest: what the record builders share."""

import collections
import contextlib
import itertools
import os
import pathlib

import infoxlm_keras
from data_prep.shuffled_shards import ShuffledShards
from data_prep.worker_pool import available_processes, map_in_order
from infoxlm_keras.data.manifest import FILE_NAME, Manifest, Source, TokenizerReference, write_manifest
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory
from infoxlm_keras.progress import progress_bar

TOKENIZER_FILE = "tokenizer/vocabulary.spm"


def add_build_arguments(parser):
    """Adds the options that all record builders have to an `argparse` parser."""
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, or folders that hold them")
    parser.add_argument(
        "--tokenizer", required=True, help="directory with vocabulary.spm, SentencePiece file, or KerasHub preset"
    )
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="folder of the prepared data")
    parser.add_argument("--shard_megabytes", type=float, default=64, help="about this many megabytes a shard")
    parser.add_argument("--seed", type=int, default=0, help="seed of the global shuffle")
    parser.add_argument(
        "--processes", type=int, default=available_processes(), help="worker processes; any number, same result"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace records that are there already")


def build_records(kind, readers, encoder, lengths, options, arguments):
    """Writes the records of all `readers` and their manifest to `output_dir`/`kind`.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        readers: list of readers (see `data_prep.readers`), sorted by name.
        encoder: picklable callable, (reader, chunk) -> `EncodedChunk`, with an attribute `tokenizer`.
        lengths: tuple of int, for the manifest.
        options: namespace with the options of `add_build_arguments`.
        arguments: dict, the settings that shaped the records, for the manifest.

    Returns:
        `Manifest`.

    Raises:
        InputError: for bad input or an output that exists; nothing is left behind.
    """
    if options.processes < 1:
        raise InputError(f"--processes {options.processes}: must be at least 1")
    if not options.shard_megabytes > 0:
        raise InputError(f"--shard_megabytes {options.shard_megabytes}: must be above 0")
    directory = pathlib.Path(options.output_dir) / kind
    if options.overwrite and directory.is_dir() and any(directory.iterdir()) and not (directory / FILE_NAME).is_file():
        raise InputError(f"{directory}: holds no records and is not overwritten; choose another --output_dir")
    shard_bytes = max(1, round(options.shard_megabytes * 1e6))
    with new_directory(directory, replace=options.overwrite) as temporary:
        streams, sources = _write_streams(kind, readers, encoder, temporary, options, shard_bytes)
        (temporary / TOKENIZER_FILE).parent.mkdir()
        (temporary / TOKENIZER_FILE).write_bytes(encoder.tokenizer.proto)
        manifest = Manifest(
            kind=kind,
            seed=options.seed,
            tokenizer=TokenizerReference(
                encoder.tokenizer.fingerprint, encoder.tokenizer.vocabulary_size, TOKENIZER_FILE
            ),
            lengths=tuple(lengths),
            streams=tuple(streams),
            sources=tuple(sources),
            created_by={
                "package": "infoxlm_keras",
                "version": infoxlm_keras.__version__,
                "arguments": dict(arguments, shard_megabytes=options.shard_megabytes),
            },
            directory=directory,
        )
        write_manifest(temporary, manifest)
    return manifest


def _write_streams(kind, readers, encoder, directory, options, shard_bytes):
    """Encodes all readers' chunks, name after name, and writes each name's shards: (streams, sources)."""
    streams, sources = [], []
    total = sum(os.path.getsize(file) for reader in readers for file in reader.files)
    unit = "sentences" if kind == "mmlm" else "pairs"
    with (
        progress_bar("Encoding", total, unit) as advance,
        contextlib.closing(map_in_order(encoder, _chunks(readers), options.processes)) as results,
    ):
        for name, group in itertools.groupby(results, key=lambda result: result[0][0].name):
            collector = StreamCollector(kind, name, options.seed)
            for (reader, chunk), encoded in group:
                collector.add(reader, encoded)
                advance(chunk.bytes_read, units=encoded.sentences)
            streams += collector.write(directory, shard_bytes)
            sources += collector.sources()
    return streams, sources


def _chunks(readers):
    for reader in readers:
        chunk = None
        for chunk in reader.chunks():
            yield reader, chunk
        if chunk is None:
            raise InputError(f"{reader.files[0]}: is empty; remove it from --input, or fetch it again")


class StreamCollector:
    """Brings together the records of one name (language or pair): without duplicates, a stream for each length.

    Args:
        kind: `"mmlm"` or `"bitext"`.
        name: str.
        seed: int, of the shuffle.
    """

    def __init__(self, kind, name, seed):
        self.kind = kind
        self.name = name
        self.seed = seed
        self.streams = {}
        self.seen = set()
        self.counts = {}

    def add(self, reader, encoded):
        """Adds the `EncodedChunk` of one of `reader`'s chunks; chunks must come in order."""
        sentences, dropped = self.counts.setdefault(reader, [0, collections.Counter()])
        dropped.update(encoded.dropped)
        self.counts[reader][0] = sentences + encoded.sentences
        for index, record in enumerate(encoded.records):
            if encoded.identities is not None:
                if encoded.identities[index] in self.seen:
                    dropped["duplicate"] += 1
                    self.counts[reader][0] -= 1
                    continue
                self.seen.add(encoded.identities[index])
            stream = self._stream(int(encoded.lengths[index]))
            stream.add(record, int(encoded.tokens[index]), int(encoded.unknown_tokens[index]))

    def write(self, directory, shard_bytes):
        """Writes all shards below `directory`; returns the list of `Stream`s.

        Raises:
            InputError: if a file held no text at all, or nothing is left to write.
        """
        for reader, (sentences, dropped) in self.counts.items():
            if sentences + dropped.total() == 0:
                raise InputError(f"{reader.files[0]}: holds no text; remove it from --input, or fetch it again")
        if not self.streams:
            total = sum((dropped for _, dropped in self.counts.values()), collections.Counter())
            reasons = ", ".join(f"{number} {reason}" for reason, number in total.items())
            files = " and ".join(file for reader in self.counts for file in reader.files)
            raise InputError(f"{files}: nothing is left ({reasons} dropped); check the text and the limits")
        return [stream.write(directory, shard_bytes) for _, stream in sorted(self.streams.items())]

    def sources(self):
        """List of `Source`, one a reader."""
        return [
            Source(self.name, " + ".join(os.path.basename(file) for file in reader.files), sentences, dict(dropped))
            for reader, (sentences, dropped) in self.counts.items()
        ]

    def _stream(self, length):
        if length not in self.streams:
            stem = self.name if self.kind == "mmlm" else f"length-{length:03d}"
            self.streams[length] = ShuffledShards(self.name, length, stem, self.seed)
        return self.streams[length]
