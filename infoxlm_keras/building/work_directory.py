"""The working directory of a build: locked against a second build, and kept so that an interrupted build resumes."""

import contextlib
import fcntl
import os
import pathlib
import shutil
import stat
from collections.abc import Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.atomic import remove
from infoxlm_keras.system_errors import full_disk_within
from infoxlm_keras.worker_pool import WorkerDiedError

LOCK = "lock"
# Checksums of the inputs, which stay true for another plan.
INPUTS = "inputs.json"


@contextlib.contextmanager
def work_directory(directory: PathLike) -> Iterator[pathlib.Path]:
    """Yields a directory beside `directory` for the work on it, locked against a second build.

    Parents are made. The directory is kept when the process is killed or interrupted, so that a build can
    continue. It is removed, with these parents, when the block ends well or the input or the disk is at fault.

    Raises:
        InputError: if another build is at work there.
        OSError: if the disk is full or a file may not become so large. It names `directory` for a file in the
            yielded one.
    """
    directory = pathlib.Path(directory)
    path = directory.parent / f".{directory.name}.work"
    missing = [parent for parent in path.parents if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True)
    with _open_lock(path / LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other build may have ended, and removed the file, after it was opened here.
            is_current = os.path.samestat(os.fstat(lock.fileno()), os.stat(path / LOCK))
        except (BlockingIOError, FileNotFoundError):
            is_current = False
        if not is_current:
            raise InputError(f"{directory}: another build is writing it; wait for it, or end it first")
        for partial in path.glob(".*.partial-*"):
            # What a killed build was writing (see `write_atomically`).
            remove(partial)
        try:
            yield path
        except WorkerDiedError:
            raise
        except (InputError, OSError) as error:
            _remove_with_parents(path, missing)
            found = full_disk_within(error)
            if found is None or (found.filename and not os.fsdecode(found.filename).startswith(f"{path}{os.sep}")):
                raise
            # What lay in the work directory is of no use to the reader: it is removed.
            raise OSError(found.errno, found.strerror, os.fspath(directory)) from error
    _remove_with_parents(path, missing)


def clear(directory: pathlib.Path) -> None:
    """Removes what is in a work directory but the lock and what is known of the inputs."""
    for path in directory.iterdir():
        if path.name not in (LOCK, INPUTS):
            remove(path)


def _open_lock(path):
    """The lock's file; anything else under its name (a folder, a FIFO, a link) is replaced."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            remove(path)
    return open(path, "a")


def _remove_with_parents(path, missing):
    shutil.rmtree(path)
    for parent in missing:
        # A parent that holds anything is not ours to remove.
        with contextlib.suppress(OSError):
            parent.rmdir()
