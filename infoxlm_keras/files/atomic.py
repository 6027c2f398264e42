"""Output that is either complete or absent."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import stat
import tempfile

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parsing import parsing

# A lone surrogate stands for a byte of a file's name that is not UTF-8.
_SURROGATE = re.compile("[\ud800-\udfff]")


@contextlib.contextmanager
def new_directory(path, replace=False):
    """Yields a temporary directory that becomes `path` when the block ends well.

    Args:
        path: str or path. The directory to appear at the end, parents included. Of a symbolic link the directory that
            it leads to is made or replaced; the link stays.
        replace: bool. Replace an existing non-empty directory; otherwise that is an error.

    Raises:
        InputError: if `path` is a file, is a non-empty directory and `replace` is False, or is a link to itself.

    The temporary directory lies beside `path` and is renamed at the end. Where that cannot be, since `path` is the
    root of a mounted file system or its parent cannot be written, it lies in `path`, and its content is moved out of
    it file by file. When the block raises, it is removed, and `path` and its parents are left as they were.
    """
    given, path = path, resolved_output(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{given}: is a file, not a directory; choose another output directory")
    if path.is_dir() and any(path.iterdir()) and not replace:
        raise InputError(f"{given}: is not empty; remove it (or give --overwrite), or choose another output directory")
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    stays = path.is_dir() and (os.path.ismount(path) or not os.access(path.parent, os.W_OK))
    temporary = (path if stays else path.parent) / f".{path.name}.partial-{os.getpid()}"
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        if stays:
            _replace_content(path, temporary)
        else:
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


def resolved_output(path):
    """`path` with symbolic links followed: the place to write to, beside which temporary files belong.

    Args:
        path: str or path, which need not exist; a link may lead to what is not there yet.

    Raises:
        InputError: for a link that leads back to itself, or a path with a NUL.
    """
    try:
        resolved = pathlib.Path(os.path.realpath(path))
    except ValueError as error:
        raise InputError(f"{ascii(str(path))}: is no path ({error})") from None
    if resolved.is_symlink():
        raise InputError(f"{path}: is a symbolic link that leads back to itself; remove it")
    return resolved


def _replace_content(path, temporary):
    for old in path.iterdir():
        if old != temporary:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for new in list(temporary.iterdir()):
        os.replace(new, path / new.name)


@contextlib.contextmanager
def without_wildcards(path):
    """Yields a name for the existing directory `path` that is UTF-8 and holds no character with a meaning in patterns.

    TensorFlow takes the names of its checkpoints and SavedModels for patterns, so it does not find a file below
    `run[lr=1e-3]`, and libraries in C++ take names in UTF-8 only. If `path` is such a name, a symbolic link in the
    folder for temporary files stands for it.

    Yields:
        str.
    """
    path = os.path.abspath(path)
    if not any(character in path for character in "*?[]{}\\") and not _SURROGATE.search(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="infoxlm-") as folder:
        link = os.path.join(folder, "link")
        os.symlink(path, link)
        yield link


def write_atomically(path, text):
    """Writes `text` (str) to `path` in UTF-8 through a temporary file that is renamed; a link stays a link."""
    path = resolved_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, value):
    """Writes `value` as indented JSON to `path`, atomically; keys keep their order.

    The name of a file that is not UTF-8 is written with escapes, and `read_json` gives it back.
    """
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(path, _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


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
    except ValueError as error:
        raise InputError(f"{ascii(str(path))}: is no path ({error})") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: is not a regular file; write its content into a file first")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}") from None


_KINDS = {dict: 'an object ({"name": value, ...})', list: "a list ([value, ...])"}


def read_json(path, kind=None):
    """The value in the JSON file `path`.

    Args:
        path: str or path.
        kind: dict, list or None, what the value must be.

    Raises:
        InputError: if the file is missing, is not JSON (names the line and column), or holds another kind of value.
    """
    text = read_text(path)
    with parsing(path, "valid JSON"):
        value = json.loads(text)
    if kind is not None and not isinstance(value, kind):
        raise InputError(f"{path}: must hold {_KINDS[kind]}, not {type(value).__name__}; fetch or write it again")
    return value


def read_yaml(path):
    """The value in the YAML file `path`, of plain types only.

    Raises:
        InputError: if the file is missing, or is not YAML (names the line).
    """
    import yaml

    text = read_text(path)
    with parsing(path, "valid YAML"):
        return yaml.safe_load(text)
