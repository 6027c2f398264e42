"""The journal of a build: lines with checksums that list the finished work, so that the same command can resume.

A piece of work counts as done once its line is in the journal; its files were complete before that. The journal
belongs to a plan (inputs, arguments, tokenizer); with another plan the work starts over.

The journal is verified when it is read. Each line carries a checksum over itself and all lines before it, and the
lines of work that made files carry their sizes and checksums. Where a checksum differs, the file was
damaged later, by a power failure or by hand: the build names the file and repeats that work. So the journal needs no
fsync.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.building.work_directory import clear, remove
from infoxlm_keras.files.written_files import naming, new_file
from infoxlm_keras.progress import progress_bar

FILE_NAME = "journal.jsonl"
# Hexadecimal digits of a line's checksum.
CHECKSUM_DIGITS = 16


class BuildJournal:
    """Finished pieces of work and their results, in a file that only grows.

    Args:
        directory: path, the work directory; it exists and is locked.
        plan: dict of JSON values; its keys name what may differ between two builds.
        threads: int, files checked at once.

    Attributes:
        changed: list of str, the keys in which an unfinished build's plan differed; its work has been removed.
        damaged: list of str, damaged files of an unfinished build; their work has been removed.
        resumed: int, pieces of work found done.
    """

    def __init__(self, directory: PathLike, plan: dict[str, Any], threads: int = 1) -> None:
        self.directory = pathlib.Path(directory)
        self.changed: list[str] = []
        self.damaged: list[str] = []
        path = self.directory / FILE_NAME
        lines = self._read(path)
        self._done = {}
        if lines:
            self.changed = sorted(key for key in {*lines[0], *plan} if lines[0].get(key) != plan.get(key))
            if not self.changed:
                self._done = self._trusted(dict(lines[1:]), threads)
        self.resumed = len(self._done)
        if not self._done:
            clear(self.directory)
        self._remove_unknown()
        remove(path)
        self._checksum = ""
        temporary = path.with_suffix(".new")
        remove(temporary)
        with new_file(temporary) as file:
            file.writelines(map(self._line, [plan, *([key, value] for key, value in self._done.items())]))
        os.replace(temporary, path)
        self._file = open(path, "ab")

    def close(self) -> None:
        with naming(self._file.name):
            self._file.close()

    def get(self, *key: str | int) -> Any:
        """The result noted for the piece of work `key` (str and int parts), or None."""
        return self._done.get(key)

    def note(self, *key: str | int, value: Any) -> None:
        """Notes that `key` is done; a kill of this process cannot undo it once this returns.

        Args:
            key: str and int parts. If the second is "run", all work that is noted later relies on it.
            value: any JSON value but null. If it is a dict with "files", these are the files that hold the result, as
                `file_sums` describes them; the work is done again if they change.
        """
        self._done[key] = value
        with naming(self._file.name):
            self._file.write(self._line([key, value]))
            self._file.flush()

    def values(self, *prefix: str | int) -> list[Any]:
        """List of the results whose key begins with `prefix`, in the order they were noted."""
        return [value for key, value in self._done.items() if key[: len(prefix)] == prefix]

    def folder(self, name: str) -> pathlib.Path:
        """A folder of the work directory, made if missing."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def file_sums(self, paths: Iterable[str]) -> dict[str, list[Any] | None]:
        """dict of path (str, relative to the work directory) to [bytes, SHA-256 in hexadecimal], for `note`."""
        return {path: _file_sum(self.directory / path) for path in paths}

    def _line(self, value):
        text = json.dumps(value).encode()
        self._checksum = _chained(self._checksum, text)
        return self._checksum.encode() + b" " + text + b"\n"

    def _read(self, path):
        """List of the plan and (key, value) of each line, up to the first damaged one; empty if there is none."""
        if not path.is_file():
            if any(path.parent.glob("*/*")):
                self.damaged.append(f"{path}")
            return []
        *lines, rest = path.read_bytes().split(b"\n")
        checksum = ""
        found: list[Any] = []
        for number, line in enumerate(lines, 1):
            given, _, text = line.partition(b" ")
            checksum = _chained(checksum, text)
            if given != checksum.encode():
                self.damaged.append(f"{path}: line {number}" if number > 1 else f"{path}")
                break
            value = json.loads(text)
            found.append((tuple(value[0]), value[1]) if found else value)
        else:
            if rest or not lines:
                self.damaged.append(f"{path}: its end")
        return found

    def _remove_unknown(self):
        """Removes what is in the folders of the work directory and no line speaks of: work that was not finished."""
        files = {pathlib.Path(path) for path in self._files()}
        known = files.union(*(path.parents for path in files))
        folders = [path for path in self.directory.iterdir() if path.is_dir() and not path.is_symlink()]
        while folders:
            for path in list(folders.pop().iterdir()):
                if path.relative_to(self.directory) not in known:
                    remove(path)
                elif path.is_dir():
                    folders.append(path)

    def _files(self):
        values = [value for value in self._done.values() if isinstance(value, dict)]
        return [path for value in values for path in value.get("files", {})]

    def _trusted(self, done, threads):
        """The part of `done` whose files are as they were; removes files that are not."""
        files = [
            (key, path, total)
            for key, value in done.items()
            if isinstance(value, dict)
            for path, total in value.get("files", {}).items()
        ]
        size = sum(total[0] for _, _, total in files)
        damaged = set()
        with (
            progress_bar("Checking unfinished work", size, "files") as advance,
            concurrent.futures.ThreadPoolExecutor(threads) as pool,
        ):
            sums = pool.map(lambda item: _file_sum(self.directory / item[1], item[2][0]), files)
            for (key, path, total), found in zip(files, sums, strict=True):
                advance(total[0], units=1)
                if found != total:
                    damaged.add(key)
                    self.damaged.append(str(self.directory / path))
                    remove(self.directory / path)
        trusted = {}
        for key, value in done.items():
            if key not in damaged:
                trusted[key] = value
            elif key[1] == "run":
                break
        return trusted


def _chained(before, text):
    return hashlib.sha256(before.encode() + text).hexdigest()[:CHECKSUM_DIGITS]


def _file_sum(path, size=None):
    """[bytes, SHA-256] of a file; None if it is no file, or not of the given size."""
    if not path.is_file() or (size is not None and path.stat().st_size != size):
        return None
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [path.stat().st_size, digest]
