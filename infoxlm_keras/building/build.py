"""Readers -> shuffled shards + manifest: what the record builders share.

The work is done in `.<kind>.work` beside the output, which appears under its name once it is complete. If the process
is killed or interrupted, the same command resumes the work; the output is identical, byte for byte.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import infoxlm_keras
from infoxlm_keras.building import spills
from infoxlm_keras.building.input_account import Fingerprints, check_streams, manifest_source
from infoxlm_keras.building.journal import FILE_NAME as JOURNAL_FILE
from infoxlm_keras.building.journal import BuildJournal
from infoxlm_keras.building.local_build import LocalBuild
from infoxlm_keras.building.output_directory import TOKENIZER_FILE, check_output, inputs_of
from infoxlm_keras.building.work_directory import remove, work_directory
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.written_files import naming, new_file
from infoxlm_keras.records.manifest import (
    BUILDERS,
    FILE_NAME,
    Manifest,
    PassedOver,
    TokenizerReference,
    write_manifest,
)
from infoxlm_keras.text.cleaning.evaluation_text import unmatched_files
from infoxlm_keras.text.readers import chunks
from infoxlm_keras.worker_pool import WorkerDiedError, available_processes

if TYPE_CHECKING:
    from infoxlm_keras.building.encoder import Encoder
    from infoxlm_keras.building.input_account import SourceCounts
    from infoxlm_keras.records.manifest import Stream
    from infoxlm_keras.text.readers.reader import Reader
    from infoxlm_keras.tokenizer import Tokenizer

GO_ON = "run the same command again to continue where it stopped"


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that all record builders have to an `argparse` parser."""
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH", help="files, or folders that hold them")
    parser.add_argument(
        "--tokenizer", required=True, help="directory with vocabulary.spm, SentencePiece file, or KerasHub preset"
    )
    parser.add_argument(
        "--output_dir",
        required=True,
        metavar="DIR",
        help="folder for the prepared data; an interrupted build in it resumes",
    )
    parser.add_argument("--shard_megabytes", type=float, default=64, help="approximate size of a shard, in megabytes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the global shuffle")
    parser.add_argument(
        "--processes",
        type=int,
        default=available_processes(),
        help="number of worker processes; it does not change the result",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing records")


@dataclasses.dataclass(frozen=True)
class Build:
    """What is to be built.

    Attributes:
        kind: `"mmlm"` or `"bitext"`.
        readers: `Found` or list of readers (see `infoxlm_keras.text.readers`), sorted by name.
        encoder: picklable callable, see `LocalBuild`, with an attribute `tokenizer`.
        lengths: tuple of int, for the manifest.
        arguments: dict, the settings that shape the records, for the manifest.
    """

    kind: str
    readers: Sequence[Reader]
    encoder: Encoder
    lengths: tuple[int, ...]
    arguments: dict[str, Any]


def build_records(build: Build, options: argparse.Namespace) -> Manifest:
    """Writes the records of all readers and their manifest to `output_dir`/`build.kind`.

    Args:
        build: `Build`.
        options: namespace with the options of `add_build_arguments`.

    Returns:
        `Manifest`.

    Raises:
        InputError: for bad input or an output that exists; nothing is left behind.
    """
    if options.processes < 1:
        raise InputError(f"--processes {options.processes}: must be at least 1")
    readers, encoder = build.readers, build.encoder
    inputs = inputs_of(readers, options)
    directory, shard_bytes = check_output(build.kind, options, inputs)
    try:
        with work_directory(directory) as work:
            fingerprints = Fingerprints(readers, work / "inputs.json", options.processes)
            plan = build_plan(build, fingerprints, options)
            journal = _open_journal(work, plan, options.processes)
            try:
                work_list = (build.kind, readers, encoder, options.seed, shard_bytes, options.processes, journal)
                streams, counts = LocalBuild(*work_list).run(journal.folder("output"))
            except Exception:
                # An input that changes during the build can cause any error: report the change, not its symptom.
                fingerprints.check_unchanged()
                raise
            finally:
                journal.close()
            fingerprints.check_unchanged()
            name_unmatched(build, counts)
            manifest = make_manifest(build, options, streams, counts, fingerprints)
            complete_output(work / "output", manifest, encoder.tokenizer)
            # Somebody may have put a file there meanwhile.
            check_output(build.kind, options, inputs)
            if directory.is_dir():
                remove(work / "replaced")
                os.replace(directory, work / "replaced")
            os.replace(work / "output", directory)
            return manifest
    except WorkerDiedError as error:
        raise InputError(f"{error}; {GO_ON}") from None
    except KeyboardInterrupt:
        print(f"\n{GO_ON}", file=sys.stderr)
        raise


def build_plan(build: Build, fingerprints: Fingerprints, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that determines the bytes of the output, as JSON values. A build resumes only with an equal plan."""
    inputs = []
    for reader in build.readers:
        files = [fingerprints.files[path] for path in reader.files]
        inputs.append([reader.name, *([file.file, file.bytes, file.sha256] for file in files)])
    return {
        "kind": build.kind,
        "version of infoxlm_keras": infoxlm_keras.__version__,
        "input": inputs,
        "tokenizer": build.encoder.tokenizer.fingerprint,
        "seed": options.seed,
        "shard_megabytes": options.shard_megabytes,
        **build.arguments,
        "sizes of chunks and runs": [chunks.CHUNK_BYTES, spills.RUN_BYTES],
    }


def name_unmatched(build: Build, counts: Iterable[SourceCounts]) -> None:
    """Prints a line for each evaluation file that left nothing out; `counts` is a `SourceCounts` for each reader."""
    cleaning = build.encoder.cleaning
    for line in unmatched_files(cleaning.evaluation if cleaning else None, counts):
        print(f"note: {line}", file=sys.stderr)


def make_manifest(
    build: Build,
    options: argparse.Namespace,
    streams: Sequence[Stream],
    counts: Sequence[SourceCounts],
    fingerprints: Fingerprints,
) -> Manifest:
    """The `Manifest` of a build: `streams` are its `Stream`s, `counts` a `SourceCounts` for each reader.

    Raises:
        InputError: if the accounts do not balance.
    """
    tokenizer = build.encoder.tokenizer
    check_streams(build.kind, streams, build.readers, counts)
    sources = [
        manifest_source(reader, count, fingerprints.files) for reader, count in zip(build.readers, counts, strict=True)
    ]
    return Manifest(
        kind=build.kind,
        seed=options.seed,
        tokenizer=TokenizerReference(tokenizer.fingerprint, tokenizer.vocabulary_size, TOKENIZER_FILE),
        lengths=tuple(build.lengths),
        streams=tuple(streams),
        sources=tuple(sources),
        created_by={
            "package": "infoxlm_keras",
            "version": infoxlm_keras.__version__,
            "command": BUILDERS[build.kind],
            "arguments": dict(build.arguments, shard_megabytes=options.shard_megabytes),
        },
        directory=pathlib.Path(options.output_dir) / build.kind,
        passed_over=tuple(PassedOver(item.name, item.reason) for item in getattr(build.readers, "passed_over", ())),
    )


def complete_output(temporary: pathlib.Path, manifest: Manifest, tokenizer: Tokenizer) -> None:
    """Adds tokenizer and manifest to the shards in the folder `temporary`, and removes what else is in it."""
    shards = {temporary / shard.path for stream in manifest.streams for shard in stream.shards}
    # What workers that were killed left half written, or what does not come from this build.
    for path in sorted(temporary.rglob("*")):
        if not path.is_dir() and path not in shards:
            path.unlink()
    (temporary / TOKENIZER_FILE).parent.mkdir(exist_ok=True)
    with new_file(temporary / TOKENIZER_FILE) as file:
        file.write(tokenizer.proto)
    with naming(temporary / FILE_NAME):
        write_manifest(temporary, manifest)
    for name in (TOKENIZER_FILE, FILE_NAME):
        with open(temporary / name, "rb") as file:
            os.fsync(file.fileno())


def _open_journal(work, plan, threads):
    """The `BuildJournal` in `work`; says what of an unfinished build is used, and what is not."""
    if not (work / "output").is_dir():
        # Nothing was done yet, or the output had been moved already when the process was killed.
        remove(work / JOURNAL_FILE)
    journal = BuildJournal(work, plan, threads)
    for place in journal.damaged:
        print(f"{place} is damaged; the build repeats this work", flush=True)
    if journal.changed:
        print(f"an unfinished build differs in {', '.join(journal.changed)}: starting over", flush=True)
    elif journal.resumed:
        print(f"resuming an unfinished build: {journal.resumed} steps are done", flush=True)
    elif journal.damaged:
        print("the unfinished build is damaged: starting over", flush=True)
    journal.folder("output")
    return journal
