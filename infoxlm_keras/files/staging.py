"""Local stand-ins for what lies in an object store: copies of inputs, and places for outputs before their upload."""

import atexit
import contextlib
import fcntl
import functools
import hashlib
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage
from infoxlm_keras.files.disk_room import check_free
from infoxlm_keras.files.mirror import Mirror, half_written

VARIABLE = "INFOXLM_STAGING"
# An address, perhaps behind the name of a language, a pair or a setting.
_ADDRESS = re.compile(r"(?P<before>(?:[^=:/]*=)?)(?P<address>[a-z0-9]+://.*)", re.DOTALL)
# Variables of the environment that name another server.
_SERVERS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST")
# Local path to the address it stands for.
_stands_for: dict[str, str] = {}
# Copies of this process: the address and what lay there, to the local path.
_copies: dict[tuple[str, tuple[tuple[str, storage.Entry], ...]], pathlib.Path] = {}


def named(text: str) -> str:
    """`text` (str) with the addresses of a store in place of the local paths that stand for them."""
    for local, address in sorted(_stands_for.items(), key=lambda item: -len(item[0])):
        text = text.replace(local, address)
    return text


@contextlib.contextmanager
def naming_addresses() -> Iterator[None]:
    """What the block prints has addresses in place of the local paths that stand for them, as `named`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Naming(sys.stdout), _Naming(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


class _Naming:
    """A text stream that passes everything on to `stream`, the text as `named`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(named(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def split_address(argument: str) -> tuple[str, str | None]:
    """(what stands before the address of a store, the address) in `argument` (str): `en-de=s3://bucket/file`.

    The address is None if there is none, and the argument is then returned whole.
    """
    match = _ADDRESS.fullmatch(argument)
    if match is None or not storage.is_remote(match["address"]):
        return argument, None
    return match["before"], match["address"]


def local_argument(argument: PathLike) -> PathLike:
    """`argument` (str or path) with a local copy in place of an address, as `local_copy`."""
    before, address = split_address(argument) if isinstance(argument, str) else ("", None)
    return argument if address is None else f"{before}{local_copy(address)}"


def staging_directory() -> pathlib.Path:
    """The folder for local copies, absolute: `INFOXLM_STAGING`, else ~/.cache/infoxlm_keras/staging."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    # Outputs may name local paths in absolute form, which must still be known as standing for addresses.
    return pathlib.Path(os.environ.get(VARIABLE) or os.path.join(cache, "infoxlm_keras", "staging")).absolute()


def local_copy(source: PathLike, wanted: Callable[[str], bool] = lambda name: True) -> pathlib.Path:
    """A local copy of a file or folder in a store, which lasts as long as the process; a path is returned as it is.

    Args:
        source: str or path.
        wanted: function of a name relative to `source` (str) that says whether it is to be copied.

    Raises:
        InputError: if there is nothing, its upload was cut short, or it cannot be read.
    """
    if not storage.is_remote(source):
        return pathlib.Path(source)
    address = storage.trimmed(os.fspath(source))
    entries = storage.listing(address)
    refuse_half_written(address, entries)
    entries = {name: entry for name, entry in entries.items() if wanted(name)}
    if not entries:
        raise InputError(f"{address}: there is no such object, and none below it; correct the address")
    key = (address, tuple(entries.items()))
    if key not in _copies:
        parent = _inputs()
        check_free(parent, sum(entry.size for entry in entries.values()))
        local = pathlib.Path(tempfile.mkdtemp(dir=parent)) / _last_part(address)
        storage.download(address, local, entries)
        _stands_for[os.fspath(local)] = address
        _copies[key] = local
    return _copies[key]


def refuse_half_written(address: str, entries: dict[str, storage.Entry]) -> None:
    """Raises `InputError` if the upload of a folder among the objects `entries` of `address` was cut short."""
    halves, _ = half_written(address, entries)
    if halves:
        unit = storage.join(address, halves[0]) if halves[0] else address
        raise InputError(f"{unit}: its upload was cut short; run the command that writes it again")


@contextlib.contextmanager
def output(address: str) -> Iterator[pathlib.Path]:
    """Yields a local path for what becomes the folder or file at `address` (str) when the block ends well.

    Empty files stand there for what the store has already. The path is the same for the same address, so a command
    that keeps unfinished work beside its output finds it again.

    Raises:
        InputError: if nothing can be written there, another process is writing, or the upload fails; the finished
            output is then kept, and the message says where.
    """
    with place(address) as local:
        storage.check_writable(address)
        with Mirror(address, local, on_demand=lambda name: True) as mirror:
            mirror.pull(keep_newer=False)
            yield local
            try:
                mirror.push()
            except InputError as error:
                _stands_for.pop(os.fspath(local))
                raise InputError(f"{error}; until then the output is complete in {local}") from error
            mirror.close()
    print(f"uploaded to {address}")


@contextlib.contextmanager
def place(address: str) -> Iterator[pathlib.Path]:
    """Yields the local path that stands for the output at `address` (str), locked against another process."""
    address = storage.trimmed(address)
    # Two addresses never share a folder, nor does one of two servers; the last part is for the reader.
    servers = "".join(f"|{os.environ.get(name, '')}" for name in _SERVERS)
    digest = hashlib.sha256(f"{address}{servers}".encode("utf-8", "surrogateescape")).hexdigest()[:24]
    name = re.sub(r"[^\w.=+-]", "_", address.rpartition("/")[2]).lstrip(".")[:80] or "root"
    local = staging_directory() / "outputs" / digest / name
    local.parent.mkdir(parents=True, exist_ok=True)
    with open(local.with_name(f".{local.name}.lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{address}: another process of this machine is writing it; wait for it") from None
        _stands_for[os.fspath(local)] = address
        yield local


@functools.cache
def _inputs():
    """The folder of this process's copies, removed at its end; those of killed processes are removed here."""
    parent = staging_directory() / "inputs"
    parent.mkdir(parents=True, exist_ok=True)
    # Machines may share the folder.
    host = re.sub(r"[^\w.-]", "_", socket.gethostname())
    for old in parent.glob(f"{host}-pid*"):
        if not _is_running(int(old.name.rpartition("pid")[2])):
            shutil.rmtree(old, ignore_errors=True)
    own = parent / f"{host}-pid{os.getpid()}"
    own.mkdir(exist_ok=True)
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_part(address):
    return address.partition("://")[2].rstrip("/").rpartition("/")[2] or "bucket"
