"""Output that is either complete or absent."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage
from infoxlm_keras.files.exchange import exchange
from infoxlm_keras.files.paths import resolved_output
from infoxlm_keras.files.replaceable import Contents, check_no_input_within, check_replaceable, entries_of
from infoxlm_keras.files.unfinished import new_name, remove_abandoned, unfinished_directory
from infoxlm_keras.files.written_files import whole_file
from infoxlm_keras.interruption import termination_raises
from infoxlm_keras.system_errors import full_disk_within


@contextlib.contextmanager
def new_directory(
    path: PathLike, replace: bool = False, contents: Contents | None = None, inputs: Sequence[PathLike] = ()
) -> Iterator[pathlib.Path]:
    """Yields a temporary directory that becomes `path` when the block ends well.

    Args:
        path: str or path. The directory to appear at the end, parents included. Of a symbolic link the directory that
            it leads to is made or replaced; the link stays.
        replace: bool. Replace an existing non-empty directory; otherwise that is an error.
        contents: what a folder that is replaced may hold, see `infoxlm_keras.files.replaceable`; None: anything.
        inputs: paths and other names of what the block reads. They must not lie in what is replaced.

    Raises:
        InputError: if `path` is a file, is a non-empty directory and `replace` is False, or is a link to itself; if
            it is not as `contents` says, or holds an input.
        OSError: if the disk is full or a file may not become so large, whatever the library that wrote into the
            directory says then. It names the file if that is known, and else the directory, by `path`.

    The temporary directory lies beside `path` and is renamed at the end. Where that cannot be, since `path` is the
    root of a mounted file system or its parent cannot be written, it lies in `path`, and its content is moved out of
    it file by file. When the block raises, it is removed, and `path` and its parents are left as they were. SIGTERM
    raises in the block, unless the process handles it otherwise. What killed processes left of earlier attempts is
    removed first, see `infoxlm_keras.files.unfinished`.
    """
    given, path = path, resolved_output(path)
    for folder in (path.parent, path):
        remove_abandoned(folder, path.name)
    check_output(given, replace, contents, inputs)
    missing = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    stays = path.is_dir() and (os.path.ismount(path) or not os.access(path.parent, os.W_OK))
    try:
        with unfinished_directory(path if stays else path.parent, path.name) as temporary:
            try:
                with termination_raises():
                    yield temporary
                _check_again(given, path, temporary, replace, contents)
                if stays:
                    _replace_content(path, temporary)
                else:
                    _replace_directory(path, temporary)
            except Exception as error:
                found = full_disk_within(error)
                if found is None:
                    raise
                # The temporary directory is of no use to the reader: it is removed.
                name = os.fspath(given) if found.filename is None else os.fsdecode(found.filename)
                raise OSError(found.errno, found.strerror, name.replace(str(temporary), os.fspath(given))) from error
    finally:
        if not path.exists():
            for parent in missing:
                with contextlib.suppress(OSError):
                    parent.rmdir()


def check_output(
    path: PathLike, replace: bool = False, contents: Contents | None = None, inputs: Sequence[PathLike] = ()
) -> None:
    """Raises `InputError` where `new_directory` would, with the same arguments: before long work, not after it."""
    given, path = path, resolved_output(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{given}: is a file, not a directory; choose another output directory")
    if not path.is_dir() or not entries_of(path):
        return
    if not replace:
        raise InputError(f"{given}: is not empty; remove it (or give --overwrite), or choose another output directory")
    check_no_input_within(given, inputs)
    if contents is not None:
        check_replaceable(given, path, contents)


def _check_again(given, path, temporary, replace, contents):
    """What was put into the folder since `check_output` stays there."""
    if not path.is_dir() or not set(entries_of(path)) - {temporary.name}:
        return
    try:
        if not replace:
            raise InputError("is not empty")
        if contents is not None:
            check_replaceable(given, path, contents, besides=temporary.name)
    except InputError:
        raise InputError(
            f"{given}: was filled by something else while this was written; nothing there was changed"
        ) from None


def _replace_directory(path, temporary):
    """`temporary` becomes `path`. What was there goes last: a kill leaves the old or the new one in its place."""
    if not path.is_dir():
        os.replace(temporary, path)
        return
    if exchange(path, temporary):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    old = path.with_name(new_name(path.name))
    os.rename(path, old)
    try:
        os.replace(temporary, path)
    except BaseException:
        os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _replace_content(path, temporary):
    for old in [path / name for name in entries_of(path)]:
        if old != temporary:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    for new in list(temporary.iterdir()):
        os.replace(new, path / new.name)


def write_atomically(path: PathLike, text: str) -> None:
    """Writes `text` (str) to `path` in UTF-8, as `whole_file` does: all of it or nothing, a link stays a link.

    `path` may be an address in a store (`gs://`, `s3://`), where an object appears whole by itself.
    """
    content = text.encode()
    if storage.is_remote(path):
        storage.write_bytes(os.fspath(path), content)
        return
    with whole_file(path) as file:
        file.write(content)


def remove(path: pathlib.Path) -> None:
    """Removes a file or a folder with all that is in it, if it is there; of a link, the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
