"""The inputs of a build: fingerprints of their content, and counts of what was kept and dropped."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.sealed_json import read_sealed, write_sealed
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.records.manifest import Source, SourceFile
from infoxlm_keras.text.readers.inputs import printable

if TYPE_CHECKING:
    from infoxlm_keras.building.encoded_chunk import EncodedChunk
    from infoxlm_keras.records.manifest import Stream
    from infoxlm_keras.text.readers.reader import Reader

# Samples that the manifest keeps of each reason to leave text out, and the most characters of one.
SAMPLES = 5
SAMPLE_CHARACTERS = 200
# Files that a message names.
MOST_FILES = 10


@dataclasses.dataclass
class SourceCounts:
    """Counts of the kept and dropped text of a part of an input. Parts are added in the order of the input.

    Attributes:
        sentences: int, sentences or pairs kept.
        dropped: dict of reason to int, sentences or pairs left out.
        dropped_samples: dict of reason to list of str.
        read: int, all that the input held: what was kept, dropped and passed over.
        passed_over: dict of reason to int, what is no text.
        evaluation: dict of the path of an evaluation file to int, what was dropped because of it.
    """

    sentences: int = 0
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    dropped_samples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    read: int = 0
    passed_over: dict[str, int] = dataclasses.field(default_factory=dict)
    evaluation: dict[str, int] = dataclasses.field(default_factory=dict)

    def add(self, part: SourceCounts | EncodedChunk) -> None:
        """Adds another `SourceCounts`, or an `EncodedChunk`."""
        self.sentences += part.sentences
        self.read += part.read or 0
        for field in ("dropped", "passed_over", "evaluation"):
            total, numbers = getattr(self, field), getattr(part, field)
            for reason, number in numbers.items():
                total[reason] = total.get(reason, 0) + int(number)
        for reason, samples in part.dropped_samples.items():
            known = self.dropped_samples.setdefault(reason, [])
            known += [sample[:SAMPLE_CHARACTERS] for sample in samples[: SAMPLES - len(known)]]

    def drop(self, reason: str, number: int) -> None:
        """Counts `number` sentences that were kept before as left out."""
        self.sentences -= number
        self.dropped[reason] = self.dropped.get(reason, 0) + number


def check_counts(
    readers: Sequence[Reader], counts: Sequence[SourceCounts], explicit: Sequence[bool] | None = None
) -> None:
    """Raises `InputError` if a text that was given by its name held nothing, or nothing is left of it.

    Args:
        readers: list of readers, all of one name.
        counts: list of `SourceCounts`, one a reader.
        explicit: list of bool, one a reader, see `Entry` in `found.py`; None if all were given by name. Some
            of many texts in a folder may be empty: the summary of the build names them.
    """
    explicit = [True] * len(readers) if explicit is None else explicit
    for reader, count, named in zip(readers, counts, explicit, strict=True):
        if named and not count.sentences and not sum(count.dropped.values()):
            raise InputError(_nothing_held(reader, count))
    if any(explicit) and not any(count.sentences for count in counts):
        raise InputError(_nothing_left(readers, counts))


def check_any_left(readers: Sequence[Reader], counts: Sequence[SourceCounts]) -> None:
    """Raises `InputError` if nothing is left of all `readers` (list), whose `SourceCounts` are `counts`."""
    if any(count.sentences for count in counts):
        return
    if not any(sum(count.dropped.values()) for count in counts):
        raise InputError(_nothing_held(readers[0], counts[0]))
    raise InputError(_nothing_left(readers, counts))


def check_account(reader: Reader, count: SourceCounts) -> None:
    """Raises `InputError` unless all that a reader read was kept, dropped for a reason, or passed over.

    Args:
        reader: a reader.
        count: `SourceCounts`.
    """
    dropped, passed_over = sum(count.dropped.values()), sum(count.passed_over.values())
    negative = min([count.sentences, *count.dropped.values(), *count.passed_over.values()]) < 0
    if negative or count.read != count.sentences + dropped + passed_over:
        raise InputError(
            f"{reader.files[0]}: its account does not balance: {count.read:,} read, but {count.sentences:,} kept, "
            f"{dropped:,} dropped and {passed_over:,} passed over; this is an error of the program, please report it"
        )


def check_streams(
    kind: str, streams: Iterable[Stream], readers: Sequence[Reader], counts: Iterable[SourceCounts]
) -> None:
    """Raises `InputError` unless a build has as many records as pairs were kept.

    Args:
        kind: `"mmlm"` (blocks of many sentences, which say nothing) or `"bitext"`.
        streams: list of `Stream`.
        readers: list of readers.
        counts: list of `SourceCounts`, one a reader.
    """
    if kind != "bitext":
        return
    difference: collections.Counter[str] = collections.Counter()
    for stream in streams:
        difference[stream.name] += stream.records
    for reader, count in zip(readers, counts, strict=True):
        difference[reader.name] -= count.sentences
    for name, number in difference.items():
        if number:
            raise InputError(
                f"{name}: its account does not balance: there are {number:+,} records more than pairs kept; "
                "this is an error of the program, please report it"
            )


def _nothing_held(reader, count):
    holds = "holds no text" if count.read else "is empty"
    return f"{reader.files[0]}: {holds}; remove it from --input, or fetch it again"


def _nothing_left(readers, counts):
    total = sum((collections.Counter(count.dropped) for count in counts), collections.Counter())
    reasons = ", ".join(f"{number} {reason}" for reason, number in total.items())
    files = [file for reader in readers for file in reader.files]
    shown = " and ".join(files[:MOST_FILES]) + (f" and {len(files) - MOST_FILES:,} more" * (len(files) > MOST_FILES))
    return f"{shown}: nothing is left ({reasons} dropped); check the text and the limits"


def manifest_source(reader: Reader, count: SourceCounts, fingerprints: Mapping[str, SourceFile]) -> Source:
    """The manifest's `Source` of a reader, whose account must balance.

    Args:
        reader: a reader.
        count: `SourceCounts`.
        fingerprints: dict of path to `SourceFile`.
    """
    check_account(reader, count)
    files = tuple(fingerprints[file] for file in reader.files)
    name = " + ".join(printable(os.path.basename(file)) for file in reader.files)
    samples = {reason: tuple(texts) for reason, texts in count.dropped_samples.items() if texts}
    passed_over = dict(count.passed_over)
    return Source(reader.name, name, count.sentences, dict(count.dropped), files, samples, count.read, passed_over)


def input_size(readers: Sequence[Reader]) -> int:
    """Bytes on disk of all files of `readers`, for progress bars."""
    return sum(os.path.getsize(file) for reader in readers for file in reader.files if os.path.exists(file))


class Fingerprints:
    """Size and checksum of every input file; files that did not change since an earlier call are not read again.

    Args:
        readers: list of readers.
        cache: path of a file that remembers checksums (one that was damaged is not believed), or None.
        threads: int, files read at once.

    Attributes:
        files: dict of path to `SourceFile`.
    """

    def __init__(self, readers: Sequence[Reader], cache: PathLike | None = None, threads: int = 1) -> None:
        self.paths = sorted({file for reader in readers for file in reader.files})
        self._stats = {path: _stat(path) for path in self.paths}
        known = (cache is not None and read_sealed(cache)) or {}
        valid = {path: known[path][1] for path in self.paths if known.get(path, [None])[0] == self._stats[path]}
        unknown = [path for path in self.paths if path not in valid]
        with progress_bar("Checking input", sum(self._stats[path][0] for path in unknown), "bytes") as advance:
            with concurrent.futures.ThreadPoolExecutor(threads) as pool:
                digests = pool.map(_digest, unknown)
                for path, digest in zip(unknown, digests, strict=True):
                    valid[path] = digest
                    advance(self._stats[path][0], units=self._stats[path][0])
        self.files = {
            path: SourceFile(printable(os.path.basename(path)), self._stats[path][0], valid[path])
            for path in self.paths
        }
        if cache is not None:
            write_sealed(cache, {path: [self._stats[path], valid[path]] for path in self.paths})

    def check_unchanged(self) -> None:
        """Raises `InputError` if a file was written to since its fingerprint was taken."""
        for path in self.paths:
            if _stat(path) != self._stats[path]:
                raise InputError(f"{path}: was changed while it was read; run the command again once it is complete")


def _files(path):
    """The files that an input consists of: itself, or all below a folder; none if it is no path."""
    if os.path.isdir(path):
        return sorted(str(file) for file in pathlib.Path(path).rglob("*") if file.is_file())
    return [path] if os.path.exists(path) else []


def _stat(path):
    stats = [os.stat(file) for file in _files(path)]
    return [sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)]


def _digest(path):
    """SHA-256 in hexadecimal, of a folder that of its files' names and digests; None for what is no file."""
    files, digests = _files(path), []
    for file in files:
        with open(file, "rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if files != [path]:
        lines = "".join(
            f"{os.path.relpath(file, path)}\t{digest}\n" for file, digest in zip(files, digests, strict=True)
        )
        return hashlib.sha256(os.fsencode(lines)).hexdigest() if files else None
    return digests[0]
