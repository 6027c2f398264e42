"""The work directory of a build: what is finished is noted in a journal, so that the same command can go on later.

A piece of work counts as done once its line is in the journal; its files were complete before that. The journal
belongs to a plan (inputs, arguments, tokenizer); with another plan the work starts over.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil

from data_prep.worker_pool import WorkerDiedError
from infoxlm_keras.errors import InputError


class BuildJournal:
    """Finished pieces of work and their results, in a file that only grows.

    Args:
        directory: path, the work directory; it exists and is locked.
        plan: dict of JSON values; its keys name what may differ between two builds.

    Attributes:
        changed: list of str, the keys in which an unfinished build's plan differed; its work has been removed.
        resumed: int, pieces of work found done.
    """

    def __init__(self, directory, plan):
        self.directory = pathlib.Path(directory)
        self.changed = []
        self._done = {}
        path = self.directory / "journal.jsonl"
        lines = _complete_lines(path)
        if lines:
            before = json.loads(lines[0])
            self.changed = sorted(key for key in {*before, *plan} if before.get(key) != plan.get(key))
            if not self.changed:
                self._done = {tuple(key): value for key, value in map(json.loads, lines[1:])}
        self.resumed = len(self._done)
        if not lines or self.changed:
            _clear(self.directory)
            lines = [json.dumps(plan)]
        # A last line that was cut off by the interruption is dropped.
        temporary = path.with_suffix(".new")
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        os.replace(temporary, path)
        self._file = open(path, "a", encoding="utf-8")

    def close(self):
        self._file.close()

    def get(self, *key):
        """The result noted for the piece of work `key` (str and int parts), or None."""
        return self._done.get(key)

    def note(self, *key, value):
        """Notes that `key` is done; `value` is any JSON value but null. Lasting once this returns."""
        self._done[key] = value
        self._file.write(json.dumps([key, value], ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def values(self, *prefix):
        """List of the results whose key begins with `prefix`, in the order they were noted."""
        return [value for key, value in self._done.items() if key[: len(prefix)] == prefix]

    def folder(self, name):
        """A folder of the work directory, made if missing."""
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path


@contextlib.contextmanager
def work_directory(directory):
    """Yields a directory beside `directory` for the work on it, locked against a second build.

    Parents are made. The directory is kept when the process is killed or interrupted, so that the work can go on; when
    the block ends well, or the input or the disk is at fault, it is removed, with the parents that were made for it.

    Raises:
        InputError: if another build is at work there.
    """
    directory = pathlib.Path(directory)
    path = directory.parent / f".{directory.name}.work"
    missing = [parent for parent in path.parents if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    with open(path / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{directory}: another build is writing it; wait for it, or end it first") from None
        try:
            yield path
        except WorkerDiedError:
            raise
        except (InputError, OSError):
            _remove(path, missing)
            raise
    _remove(path, missing)


def _complete_lines(path):
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return lines[:-1]


def _clear(directory):
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("lock", "inputs.json"):
            path.unlink()


def _remove(path, missing):
    shutil.rmtree(path)
    for parent in missing:
        # A parent that holds anything is not ours to remove.
        with contextlib.suppress(OSError):
            parent.rmdir()
