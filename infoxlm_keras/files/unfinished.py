"""Output in the making: it lies beside what it becomes under a name of its own, locked while it is written.

The lock ends with the process that writes, even if it is killed, so a later run can tell an abandoned output from one
in the making, and removes it.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import os
import pathlib
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from typing import IO

# `.NAME.partial-MACHINE-NUMBER`; `-PROCESS` and nothing are names of earlier releases.
NAME = re.compile(r"\.(?P<name>.+)\.partial(?:-(?P<machine>[0-9a-f]{6})-[0-9a-f]{6}|-[0-9]+)?", re.DOTALL)
BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
# Without a lock that proves it, what nobody has changed for so long counts as abandoned.
ABANDONED_AFTER = 24 * 3600  # seconds


@contextlib.contextmanager
def unfinished_directory(parent: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    """Yields a new, locked directory in `parent` that is to become `name` (str).

    It is removed unless it was renamed.
    """
    while True:
        path = parent / new_name(name)
        path.mkdir()
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY)
            if _locked(descriptor, path):
                break
            os.close(descriptor)
    try:
        yield path
    finally:
        if path.exists():
            shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


@contextlib.contextmanager
def unfinished_file(target: pathlib.Path) -> Iterator[tuple[pathlib.Path, IO[bytes]]]:
    """Yields (path, binary file) of a new, locked file beside `target`, which the block closes and renames.

    It is removed unless it was renamed.
    """
    while True:
        path = target.with_name(new_name(target.name))
        file = open(path, "xb")  # noqa: SIM115
        if _locked(file.fileno(), path):
            break
        file.close()
    # The lock is a descriptor of its own: the block closes the file before it is renamed.
    descriptor = os.dup(file.fileno())
    try:
        yield path, file
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def remove_abandoned(parent: pathlib.Path, name: str) -> None:
    """Removes from `parent` what killed processes left of output that was to become `name` (str).

    It goes if its lock is free and it was made on this host since the last start. Where the lock proves nothing
    (another machine or container on a shared disk, a file system without locks, an earlier release), it goes once
    nothing in it has changed for a day.
    """
    with contextlib.suppress(OSError):
        for entry in os.listdir(parent):
            found = NAME.fullmatch(entry)
            if found and found["name"] == name:
                _remove_if_abandoned(parent / entry, found["machine"] == _machine())


def _remove_if_abandoned(path, made_here):
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        mode = os.lstat(path).st_mode
        if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return
            made_here = False
        if made_here or time.time() - _last_change(path) > ABANDONED_AFTER:
            remove = functools.partial(shutil.rmtree, ignore_errors=True) if stat.S_ISDIR(mode) else os.unlink
            remove(path)


def _last_change(path):
    """The newest time of modification of a file or of what a directory holds, in seconds."""
    paths = [path, *(os.path.join(root, name) for root, *names in os.walk(path) for name in sum(names, []))]
    return max(os.lstat(each).st_mtime for each in paths)


def new_name(name: str) -> str:
    """A name, not yet used, of output that is to become `name`, or that was it and is to go."""
    return f".{name}.partial-{_machine()}-{secrets.token_hex(3)}"


def _locked(descriptor, path):
    """Locks `path`, which was just made; False if another process took it for abandoned before it was locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Other errors: a file system without locks.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return os.path.exists(path)


@functools.cache
def _machine():
    """Six hexadecimal digits that differ from host to host, and after each start of one.

    Containers of one machine are hosts, too: each may see a shared disk by a mount with locks of its own.
    """
    identity = socket.gethostname()
    with contextlib.suppress(OSError):
        identity += BOOT.read_text()
    return hashlib.sha256(identity.encode()).hexdigest()[:6]
