"""Addresses of files: links, names that libraries take for patterns, and what the operating system can read."""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

# A lone surrogate stands for a byte of a file's name that is not UTF-8.
SURROGATE = re.compile("[\ud800-\udfff]")


def resolved_output(path: PathLike) -> pathlib.Path:
    """`path` with symbolic links followed: the place to write to, beside which temporary files belong.

    Args:
        path: str or path, which need not exist; a link may lead to what is not there yet.

    Raises:
        InputError: for a link that leads back to itself, a path with a NUL, or the name of a model hub.
    """
    # As a path, `hf://org/name` has lost a slash.
    hub, colon, _ = str(path).partition(":/")
    if colon and hub in ("hf", "kaggle"):
        raise InputError(f"{path}: names a model on a hub; write a folder of this machine, and upload that")
    try:
        resolved = pathlib.Path(os.path.realpath(path))
    except ValueError as error:
        raise InputError(f"{ascii(str(path))}: is not a path ({error})") from None
    if resolved.is_symlink():
        raise InputError(f"{path}: is a symbolic link that leads back to itself; remove it")
    return resolved


@contextlib.contextmanager
def without_wildcards(path: PathLike) -> Iterator[str]:
    """Yields a name for the existing directory `path` that is UTF-8 and holds no character with a meaning in patterns.

    TensorFlow takes the names of its checkpoints and SavedModels for patterns, so it does not find a file below
    `run[lr=1e-3]`, and libraries in C++ take names in UTF-8 only. If `path` is such a name, a symbolic link in the
    folder for temporary files stands for it.

    Yields:
        str.
    """
    path = os.path.abspath(path)
    if not any(character in path for character in "*?[]{}\\") and not SURROGATE.search(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="infoxlm-") as folder:
        link = os.path.join(folder, "link")
        os.symlink(path, link)
        yield link
