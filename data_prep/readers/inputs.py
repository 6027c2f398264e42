"""Command-line inputs as paths: `NAME=PATH`, files, and the files in folders, checked before anything is read."""

import dataclasses
import errno
import os
import pathlib
import stat

from data_prep.readers.compression import COMPRESSIONS
from infoxlm_keras.errors import InputError


@dataclasses.dataclass(frozen=True)
class Input:
    """One input as given.

    Attributes:
        address: str, a path, or `tfds:...`.
        name: str or None, the language or pair written before it.
    """

    address: str
    name: str | None


def parse_input(item, name_pattern):
    """`Input` of one command-line input (str or path): `NAME=ADDRESS` or `ADDRESS`.

    Args:
        item: str or path.
        name_pattern: compiled regular expression of the whole of a name.
    """
    text = os.fspath(item)
    name, equals, address = text.partition("=")
    # A file whose own name has an equals sign is a file.
    if equals and name_pattern.fullmatch(name) and not os.path.lexists(text):
        return Input(address, name)
    return Input(text, None)


def path_kind(path):
    """`"file"`, `"folder"`, or None where nothing is there.

    Raises:
        InputError: for a loop of symbolic links, a link to nothing, and what is neither file nor folder (a FIFO would
            wait for ever).
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a loop of symbolic links; remove it, or name the file itself") from None
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{path}: is longer than a file name may be") from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        if os.path.islink(path):
            raise InputError(f"{path}: is a symbolic link to nothing; remove it, or name the file itself") from None
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    raise InputError(f"{path}: is neither a file nor a folder; write what it gives into a file first")


def folder_files(folder, wanted, names):
    """The files in `folder` (path) whose plain name is `wanted` (callable), sorted: list of path.

    Raises:
        InputError: if there are none, naming what was looked for (`names`); as `path_kind`; and for a folder that is
            named like a file.
    """
    paths = [path for path in sorted(pathlib.Path(folder).iterdir()) if wanted(plain_name(path))]
    for path in paths:
        if path_kind(path) == "folder":
            raise InputError(f"{path}: is named like a file but is a folder; rename it, or name its files")
    if not paths:
        raise InputError(f"{folder}: holds no file named {names}")
    return paths


def plain_name(path):
    """The file's name without the ending of its compression."""
    path = pathlib.Path(path)
    return path.name.removesuffix(path.suffix) if path.suffix in COMPRESSIONS else path.name


class GivenOnce:
    """Refuses a text that is given a second time, as `de.txt` beside `de.txt.gz`, or a file along with its folder."""

    def __init__(self):
        self.seen = set()

    def check(self, path, name=None):
        """Raises `InputError` if `path` was here before, under the same `name`."""
        path = pathlib.Path(path)
        # Not Path.resolve, which raises on a loop of links.
        real = pathlib.Path(os.path.realpath(path))
        key = (real.parent / plain_name(path), name)
        if key in self.seen:
            raise InputError(f"{path}: is given twice, or once more under another ending; name each text once")
        self.seen.add(key)
