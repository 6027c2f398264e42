"""The inputs of a build: what identifies their content, and what was kept and left out of each."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib

from data_prep.sealed_json import read_sealed, write_sealed
from infoxlm_keras.data.manifest import Source, SourceFile
from infoxlm_keras.errors import InputError
from infoxlm_keras.progress import progress_bar

# Samples that the manifest keeps of each reason to leave text out, and the most characters of one.
SAMPLES = 5
SAMPLE_CHARACTERS = 200


@dataclasses.dataclass
class SourceCounts:
    """What became of a part of an input; parts are added up in the order of the input."""

    sentences: int = 0
    dropped: dict = dataclasses.field(default_factory=dict)
    dropped_samples: dict = dataclasses.field(default_factory=dict)

    def add(self, part):
        """Adds another `SourceCounts`, or an `EncodedChunk`."""
        self.sentences += part.sentences
        for reason, number in part.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + int(number)
        for reason, samples in part.dropped_samples.items():
            known = self.dropped_samples.setdefault(reason, [])
            known += [sample[:SAMPLE_CHARACTERS] for sample in samples[: SAMPLES - len(known)]]

    def drop(self, reason, number):
        """Counts `number` sentences that were kept before as left out."""
        self.sentences -= number
        self.dropped[reason] = self.dropped.get(reason, 0) + number


def check_counts(readers, counts):
    """Raises `InputError` if one of `readers` (all of one name) held no text, or nothing is left of all.

    Args:
        readers: list of readers.
        counts: list of `SourceCounts`, one a reader.
    """
    for reader, count in zip(readers, counts, strict=True):
        if count.sentences + sum(count.dropped.values()) == 0:
            raise InputError(f"{reader.files[0]}: holds no text; remove it from --input, or fetch it again")
    if not any(count.sentences for count in counts):
        total = sum((collections.Counter(count.dropped) for count in counts), collections.Counter())
        reasons = ", ".join(f"{number} {reason}" for reason, number in total.items())
        files = " and ".join(file for reader in readers for file in reader.files)
        raise InputError(f"{files}: nothing is left ({reasons} dropped); check the text and the limits")


def manifest_source(reader, count, fingerprints):
    """The manifest's `Source` of a reader.

    Args:
        reader: a reader.
        count: `SourceCounts`.
        fingerprints: dict of path to `SourceFile`.
    """
    files = tuple(fingerprints[file] for file in reader.files)
    name = " + ".join(os.path.basename(file) for file in reader.files)
    samples = {reason: tuple(texts) for reason, texts in count.dropped_samples.items() if texts}
    return Source(reader.name, name, count.sentences, dict(count.dropped), files, samples)


def input_size(readers):
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

    def __init__(self, readers, cache=None, threads=1):
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
            path: SourceFile(os.path.basename(path), self._stats[path][0], valid[path]) for path in self.paths
        }
        if cache is not None:
            write_sealed(cache, {path: [self._stats[path], valid[path]] for path in self.paths})

    def check_unchanged(self):
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
        return hashlib.sha256(lines.encode()).hexdigest() if files else None
    return digests[0]
