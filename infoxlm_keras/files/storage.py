"""The one door to object stores and other file systems with an address: `gs://`, `s3://`, all that fsspec knows.

Only this file calls fsspec, which is imported when an address is used. Everything that a store's library raises
becomes an `InputError` of one line.
"""

import concurrent.futures
import contextlib
import errno
import importlib
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parser_errors import describe

# What an address of these schemes names is no folder: models of hubs, and servers.
NOT_STORAGE = ("hf", "kaggle", "grpc")
# The scheme: the library that fsspec takes for it, and our extra that installs it.
_LIBRARIES = {"gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3"), "s3a": ("s3fs", "s3")}
_LOGINS = {"gcsfs": "gcloud auth application-default login", "s3fs": "aws configure"}
# A server that does not answer ends a run within minutes; the libraries' own limits are many minutes, or none.
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
# File systems with folders, which must be there before a file is written. Elsewhere a folder is part of a name.
_WITH_FOLDERS = ("file", "local", "ftp", "sftp", "ssh", "smb", "hdfs", "webhdfs")
PARALLEL_TRANSFERS = 8
PROBE = ".infoxlm-probe"
_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Entry(NamedTuple):
    """An object: its size in bytes, and a text that changes when its content does."""

    size: int
    version: str


def is_remote(path: PathLike | None) -> bool:
    """Whether `path` (str, path or None) is an address such as `gs://bucket/folder`: no path, and no hub's name."""
    if not isinstance(path, str):
        return False
    scheme, separator, _ = path.partition("://")
    return bool(separator) and scheme.isalnum() and scheme not in NOT_STORAGE


def join(address: str, *names: str) -> str:
    """The address of what lies under the `names` (str) in the folder `address` (str)."""
    return "/".join([trimmed(address), *names])


def trimmed(address: str) -> str:
    """`address` (str) without slashes at its end.

    Raises:
        InputError: if nothing is left but the scheme: without a bucket, libraries take it for a local path; for `::`,
            where fsspec cuts an address in two.
    """
    scheme, _, rest = address.partition("://")
    if "::" in address:
        raise InputError(
            f"{address}: holds `::`, which the libraries of stores take for the end of an address; rename it"
        )
    if not rest.strip("/") or (rest.startswith("/") and scheme in _LIBRARIES):
        raise InputError(f"{address}: names no bucket; write {scheme}://bucket/folder")
    return address.rstrip("/")


def listing(address: str) -> dict[str, Entry]:
    """The objects at and below `address`, by their name relative to it ("" for an object of exactly this name).

    Returns:
        dict of str to `Entry`, sorted; empty if there are none.

    Raises:
        InputError: if the bucket is missing, or cannot be reached or read; if the name of an object is no path.
    """
    with reaching(address, "read"):
        files, path = file_system(address)
        files.invalidate_cache()
        found = {}
        for name, facts in files.find(path, detail=True).items():
            name = str(name).lstrip("/")
            base = path.strip("/")
            inside = name == base or name.startswith(f"{base}/")
            # Consoles make objects of no size whose name ends in a slash to show a folder.
            if inside and facts.get("type") == "file" and not name.endswith("/"):
                found[_inner_name(name[len(base) :].removeprefix("/"), address)] = _entry(facts)
        return dict(sorted(found.items()))


def refuse_object(address: str, entries: Iterable[str]) -> None:
    """Raises `InputError` if there is an object at `address` (str), not a folder; `entries` are the names there."""
    if "" in entries:
        raise InputError(f"{address}: is an object, not a folder; give the folder that holds it, or another address")


def _inner_name(name, address):
    """`name`, unless as a path it would lead out of the folder or to the file of another object."""
    if name and not all(part not in ("", ".", "..") and "\0" not in part for part in name.split("/")):
        raise InputError(f"{address}: holds an object {name!r}, which is no path below it; rename or remove it")
    return name


def _entry(facts):
    kinds = ("ETag", "generation", "etag", "mtime", "LastModified", "created")
    return Entry(int(facts["size"]), next((str(facts[kind]) for kind in kinds if facts.get(kind)), ""))


def read_bytes(address: str) -> bytes:
    """The content of the object at `address` (str).

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    with reaching(address, "read"):
        files, path = file_system(address)
        return files.cat_file(path)


def write_bytes(address: str, content: bytes) -> None:
    """Writes one object, whole or not at all.

    Raises:
        InputError: if it cannot be written.
    """
    with reaching(address, "write"):
        files, path = _writable(address)
        files.pipe_file(path, content)


def remove(address: str, names: Iterable[str]) -> None:
    """Removes the objects `names` (str) of the folder `address` (str); one that is gone already is no error.

    On a file system with folders, those that become empty are removed too: in a store they would not be there.
    """
    names = list(names)
    for name in names:
        with reaching(address, "write"), contextlib.suppress(FileNotFoundError):
            files, path = file_system(join(address, name) if name else address)
            files.rm_file(path)
    if _has_folders(address):
        _remove_empty_folders(address, names)


def upload(address: str, local: pathlib.Path, names: Iterable[str]) -> None:
    """Writes the files `names` (str) of the folder `local` (path) to the same names below `address` (str)."""

    def put(name):
        with reaching(address, "write"):
            files, path = _writable(join(address, name) if name else address)
            files.put_file(os.fspath(local / name if name else local), path)

    _in_parallel(put, names)


def download(address: str, local: pathlib.Path, entries: dict[str, Entry]) -> None:
    """Reads the objects of `entries`, named relative to `address` (str), into the folder `local` (path).

    Raises:
        InputError: if one cannot be read, or comes with another size.
    """

    def get(name):
        target = local / name if name else local
        target.parent.mkdir(parents=True, exist_ok=True)
        source = join(address, name) if name else address
        with reaching(source, "read"):
            files, path = file_system(source)
            files.get_file(path, os.fspath(target))
        if (size := target.stat().st_size) != entries[name].size:
            raise InputError(f"{source}: {size} of {entries[name].size} bytes came; run this again")

    _in_parallel(get, entries)


def _has_folders(address):
    return address.partition("://")[0] in _WITH_FOLDERS


def _writable(address):
    """`file_system` of an object that is to be written, with its folder made where there are folders."""
    files, path = file_system(address)
    if _has_folders(address):
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
    return files, path


def _remove_empty_folders(address, names):
    """Removes what the `names` leave empty: their folders below `address` (str), and that folder itself."""
    folders = {
        "/".join(parts[:depth])
        for parts in (name.split("/")[:-1] for name in names if name)
        for depth in range(len(parts) + 1)
    }
    for folder in sorted(folders, reverse=True):
        with reaching(address, "write"), contextlib.suppress(OSError):
            files, path = file_system(join(address, folder) if folder else address)
            if not files.ls(path, detail=False):
                files.rmdir(path)


def _in_parallel(transfer: Callable[[str], None], names: Iterable[str]) -> None:
    with concurrent.futures.ThreadPoolExecutor(PARALLEL_TRANSFERS) as pool:
        transfers = [pool.submit(transfer, name) for name in names]
        try:
            for done in concurrent.futures.as_completed(transfers):
                done.result()
        finally:
            for waiting in transfers:
                waiting.cancel()


def check_writable(address: str) -> None:
    """Raises `InputError` unless objects can be written below `address` (str): before hours of work, not after."""
    with reaching(address, "write"):
        files, path = file_system(address)
        if _has_folders(address) and files.isfile(path):
            address = address.rpartition("/")[0]
        files, path = _writable(join(address, PROBE))
        files.pipe_file(path, b"")
        files.rm_file(path)
    if _has_folders(address):
        _remove_empty_folders(address, [PROBE])


def file_system(address: str) -> tuple[Any, str]:
    """(fsspec's file system, the path in it) of `address` (str), with limits to how long it waits.

    Raises:
        InputError: if the library for it is missing, or there is none.
    """
    scheme = address.partition("://")[0]
    library, extra = _LIBRARIES.get(scheme, (None, None))
    trimmed(address)
    if scheme in ("http", "https"):
        raise InputError(f"{address}: a web server is no storage to list and write; download the files and give paths")
    if library == "gcsfs":
        # The client of buckets with folders opens a connection of its own, and needs a minute where it gets none.
        # Its operations are not needed here, and the others work on such buckets, too.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL + 1)
    try:
        if library is not None:
            importlib.import_module(library)
        import fsspec
    except ImportError as error:
        wanted = f'pip install "infoxlm_keras[{extra}]"' if extra else "pip install fsspec"
        raise InputError(f"{address}: needs {library or 'fsspec'} ({describe(error)}); {wanted}") from None
    options: dict[str, Any] = {}
    if library == "s3fs":
        limits = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS, "retries": {"max_attempts": 2}}
        options = {"config_kwargs": limits, "use_listings_cache": False}
    elif library == "gcsfs":
        import aiohttp

        waiting = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        options = {"requests_timeout": waiting, "use_listings_cache": False}
    # What the user has set (FSSPEC_S3_..., ~/.config/fsspec) comes first.
    set_by_user = {**fsspec.config.conf.get(scheme, {}), **fsspec.config.conf.get(extra, {})}
    options = {name: value for name, value in options.items() if name not in set_by_user}
    try:
        return fsspec.url_to_fs(address, **options)
    except ValueError as error:
        raise InputError(f"{address}: {describe(error)}; give gs://, s3:// or another address of fsspec") from None
    except ImportError as error:
        raise InputError(f"{address}: {describe(error)}") from None


@contextlib.contextmanager
def reaching(address: str, purpose: str) -> Iterator[None]:
    """Raises `InputError` for whatever a store's library raises in the block.

    Args:
        address: str.
        purpose: "read" or "write".

    Raises:
        InputError: names the address, the cause and the remedy. An `OSError` of this machine's disk passes unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _LOCAL_ERRORS:
            raise
        raise InputError(f"{address}: {_reason(error, address, purpose)}") from error


def _reason(error, address, purpose):
    scheme = address.partition("://")[0]
    login = _LOGINS.get(_LIBRARIES.get(scheme, ("", ""))[0], "log in to the store")
    kinds = {kind.__name__ for one in _causes(error) for kind in type(one).__mro__}
    text = " ".join(str(one) for one in _causes(error))
    detail = describe(error)
    if any("Credential" in kind or kind in ("RefreshError", "ProfileNotFound") for kind in kinds) or any(
        code in text
        for code in ("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "Invalid Credentials", "Anonymous caller")
    ):
        return f"has no valid credentials here ({detail}); {login}, and run this again"
    if "PermissionError" in kinds or any(code in text for code in ("AccessDenied", "Forbidden", "Unauthorized")):
        return f"access is denied ({detail}); give this account the right to {purpose} there"
    if kinds & {"NotADirectoryError", "FileExistsError"}:
        return "is an object, not a folder; give another address"
    if "FileNotFoundError" in kinds:
        return f"no such bucket, or no such object ({detail}); make the bucket, or correct the address"
    if any("Connect" in kind or "Timeout" in kind or "Disconnect" in kind for kind in kinds):
        return f"cannot be reached ({detail}); see to the network and run this again"
    return f"cannot be {'read' if purpose == 'read' else 'written'} ({detail}); see to the cause and run this again"


def _causes(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
