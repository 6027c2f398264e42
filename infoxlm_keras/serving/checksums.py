"""Checksums of files that C++ libraries open without validation: one changed byte there can end the process.

CRC-32C detects damage (disks, copies, interrupted writes), but no forgery. It processes several gigabytes a second.
"""

import pathlib
import stat
from collections.abc import Iterable
from typing import Any

import google_crc32c

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

BLOCK_BYTES = 1 << 20


def checksums(directory: PathLike, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The checksums that `check_files` compares with.

    Args:
        directory: path.
        names: iterable of str, files relative to it.

    Returns:
        dict of name to `{"bytes": int, "crc32c": str of 8 hexadecimal digits}`.
    """
    return {name: _checksum(pathlib.Path(directory) / name) for name in names}


def check_files(directory: PathLike, expected: object, place: PathLike, remedy: str) -> None:
    """Compares files with their checksums.

    Args:
        directory: path.
        expected: the result of `checksums`, as read from JSON.
        place: path of the file that `expected` was read from.
        remedy: str, what the user can do.

    Raises:
        InputError: for the first file that is missing, no regular file, or changed; and if `expected` has
            another form than the result of `checksums`.
    """
    listed: dict[str, Any] = expected if isinstance(expected, dict) else {"": None}
    for name, entry in listed.items():
        if not isinstance(entry, dict) or set(entry) != {"bytes", "crc32c"}:
            raise InputError(f"{place}: does not list files with bytes and crc32c; {remedy}")
        path = pathlib.Path(directory) / name
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path}: no such file; {remedy}") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is not a regular file; {remedy}")
        if status.st_size != entry["bytes"]:
            raise InputError(f"{path}: has {status.st_size} bytes and not {entry['bytes']}: it is damaged; {remedy}")
        if _checksum(path) != entry:
            raise InputError(f"{path}: differs from its checksum: it is damaged; {remedy}")


def text_checksum(text: str) -> str:
    """CRC-32C of a str, 8 hexadecimal digits."""
    return f"{google_crc32c.value(text.encode('utf-8', 'backslashreplace')):08x}"


def _checksum(path):
    crc = size = 0
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            crc, size = google_crc32c.extend(crc, block), size + len(block)
    return {"bytes": size, "crc32c": f"{crc:08x}"}
