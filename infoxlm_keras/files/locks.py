"""A lock on the folder of a run: one process works in it at a time."""

import contextlib
import errno
import fcntl
import os
import pathlib
from collections.abc import Iterator

from infoxlm_keras.errors import InputError


@contextlib.contextmanager
def locked(path: pathlib.Path, doing: str) -> Iterator[None]:
    """Holds a lock by the file `path`, which is made if missing and holds the number of the process.

    The lock ends with the process, even if it is killed. A file system without locks is warned of.

    Args:
        path: path of the file, in the folder that is locked.
        doing: str, what the other process does, for the message: "training".

    Raises:
        InputError: if another process holds the lock.
    """
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                file.seek(0)
                raise InputError(
                    f"{path.parent}: process {file.read().strip() or 'unknown'} is {doing} in it; wait for it, or "
                    "give another --output_dir"
                ) from None
            print(f"warning: {path.parent}: its file system knows no locks; start one run only in it")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
