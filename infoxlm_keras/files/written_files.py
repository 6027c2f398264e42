"""Files that are written whole: all of the content or none of it, and an error of the disk names the file."""

import contextlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from typing import IO

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files.paths import resolved_output
from infoxlm_keras.files.unfinished import remove_abandoned, unfinished_file
from infoxlm_keras.system_errors import system_error_within

# Names of the process's own open files.
_DESCRIPTOR = re.compile(r"/dev/(?:fd/(?P<fd>[0-9]+)|(?P<name>stdin|stdout|stderr))|/proc/self/fd/(?P<self>[0-9]+)")
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}


@contextlib.contextmanager
def whole_file(path: PathLike) -> Iterator[IO[bytes]]:
    """Opens `path` to be written in binary, so that it gets all of the content or stays as it was.

    The content goes to a temporary file beside it, which is renamed at the end; a symbolic link stays a link.
    Temporary files of killed processes are removed. What exists and is no regular file (a device, a FIFO,
    `/dev/stdout`, the shell's `>(...)`) must not be replaced by one: the content is written straight to it.

    Args:
        path: str or path. Its folder is made, parents included.

    Yields:
        Binary file.

    Raises:
        InputError: as `resolved_output`.
        OSError: with `filename`.
    """
    descriptor = _DESCRIPTOR.fullmatch(os.fspath(path))
    if descriptor:
        # A file that is opened anew would be written from its beginning, over what was printed to it before.
        sys.stdout.flush()
        number = _NUMBERS[descriptor["name"]] if descriptor["name"] else int(descriptor["fd"] or descriptor["self"])
        with naming(path), os.fdopen(os.dup(number), "wb") as file:
            yield file
        return
    if is_special(path):
        with new_file(path) as file:
            yield file
        return
    resolved = resolved_output(path)
    resolved.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(resolved.parent, resolved.name)
    with naming(path), unfinished_file(resolved) as (temporary, file):
        with file:
            yield file
        os.replace(temporary, resolved)


def is_special(path: PathLike) -> bool:
    """Whether `path` (str or path), links followed, exists and is no regular file: a folder, a device, a FIFO."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def new_file(path: PathLike) -> Iterator[IO[bytes]]:
    """Opens `path` to be written in binary; an `OSError` in the block, or while the rest is written, names it.

    Python's own names no file where writing fails (a full disk, a limit on the size of files).

    Args:
        path: str or path.

    Yields:
        Binary file.

    Raises:
        OSError: with `filename`.
    """
    with naming(path), open(path, "wb") as file:
        yield file


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Gives an `OSError` of the block that names no file the name `path` (str or path)."""
    try:
        yield
    except OSError as error:
        # NumPy gives no number for a full disk, only words.
        found = error if error.filename is not None else system_error_within(error)
        if found is None or found.filename is not None or found.errno is None:
            raise
        raise OSError(found.errno, found.strerror, str(path)) from error
