"""Output that is either complete or absent."""

import contextlib
import json
import os
import pathlib
import shutil
import stat

from infoxlm_keras.errors import InputError
from infoxlm_keras.parsing import parsing


@contextlib.contextmanager
def new_directory(path, replace=False):
    """Yields a temporary directory beside `path` that becomes `path` when the block ends well.

    Args:
        path: str or path. The directory to appear at the end, parents included.
        replace: bool. Replace an existing non-empty directory; otherwise that is an error.

    Raises:
        InputError: if `path` is a file, or is a non-empty directory and `replace` is False.

    When the block raises, the temporary directory is removed and `path` and its parents are left as they were.
    """
    path = pathlib.Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: is a file, not a directory; choose another output directory")
    if path.is_dir() and any(path.iterdir()) and not replace:
        raise InputError(f"{path}: is not empty; remove it (or give --overwrite), or choose another output directory")
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.partial-{os.getpid()}"
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
        if not path.exists():
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def write_atomically(path, text):
    """Writes `text` (str) to `path` in UTF-8 by way of a temporary file and a rename."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Writes `value` as indented JSON to `path`, atomically; keys keep their order."""
    write_atomically(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def check_local(path):
    """Raises InputError if `path` (str, path or None) is an address of another file system, such as gs://bucket."""
    scheme, separator, _ = str(path or "").partition("://")
    if separator:
        raise InputError(
            f"{path}: files are read and written through the operating system; mount the {scheme} storage (for gs://, "
            "gcsfuse) and give the mounted directory, or copy the files"
        )


def read_text(path):
    """The text of the UTF-8 file `path`.

    Raises:
        InputError: if the file is missing, is no regular file (a FIFO would wait for ever), or is not UTF-8.
    """
    path = pathlib.Path(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; write its content into a file first")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}") from None


def read_json(path):
    """The value in the JSON file `path`.

    Raises:
        InputError: if the file is missing, or is not JSON (names the line and column).
    """
    text = read_text(path)
    with parsing(path, "valid JSON"):
        return json.loads(text)
