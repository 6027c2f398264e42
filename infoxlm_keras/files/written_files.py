"""Files that are written whole: an error of the disk names the file."""

import contextlib
from collections.abc import Iterator
from typing import IO

from infoxlm_keras.annotations import PathLike


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
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
