"""ZIP archives of OPUS: streams of their members, with checks against unsafe archives."""

import contextlib
import errno
import os
import re
import struct
import zipfile
from typing import IO

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import POINTER_BYTES, refuse_pointer

# Deflate compresses up to 1,000 to 1; real text seldom reaches 20 to 1.
MOST_EXPANSION = 200
# An expansion to fewer bytes than this does no harm.
HARMLESS_BYTES = 1 << 24
ENCRYPTED = 0x1


def read_members(path: PathLike) -> list[zipfile.ZipInfo]:
    """The files in the archive `path`: list of `zipfile.ZipInfo`, folders left out.

    Raises:
        InputError: if it is no ZIP archive, or holds a member whose name leads out of it, that is encrypted, is there
            twice, or grows more than any text does.
    """
    if os.path.isfile(path):
        with open(path, "rb") as file:
            refuse_pointer(file.read(POINTER_BYTES), path)
    with _errors(path), zipfile.ZipFile(path) as archive:
        # A damaged directory may hold a member without a name, of which `is_dir` would fail.
        members = [member for member in archive.infolist() if not member.filename or not member.is_dir()]
    seen = set()
    for member in members:
        # `orig_filename` is the name as stored in the archive; zipfile normalizes `filename`.
        name = member.orig_filename
        if not name:
            raise InputError(f"{path}: holds a member without a name; fetch it again")
        if _leads_outside(name):
            raise InputError(f"{path}: its member {name!r} leads out of the archive; do not trust it, fetch it again")
        if name in seen:
            raise InputError(f"{path}: holds {name!r} twice; fetch it again")
        seen.add(name)
        if member.flag_bits & ENCRYPTED:
            raise InputError(f"{path}: its member {name!r} is encrypted; unpack it with its password first")
        if member.file_size > HARMLESS_BYTES and member.file_size > MOST_EXPANSION * member.compress_size:
            raise InputError(
                f"{path}: its member {name!r} grows from {member.compress_size:,} to {member.file_size:,} bytes, "
                "more than text does (a zip bomb?); do not trust it, or unpack it yourself"
            )
    return members


def open_member(file: IO[bytes], path: PathLike, name: str) -> tuple[IO[bytes], int]:
    """(stream, offset): the member `name` of the archive `path`, already open as `file`; where its data begins.

    The stream never gives more than the archive's directory says, and checks the CRC at its end.
    """
    with _errors(path):
        archive = zipfile.ZipFile(file)
        return archive.open(name), archive.getinfo(name).header_offset


def _leads_outside(name):
    """Whether a member's name is absolute, climbs, or is not a plain path at all."""
    parts = re.split(r"[/\\]", name)
    return parts[0] == "" or ":" in parts[0] or ".." in parts or "\0" in name


@contextlib.contextmanager
def _errors(path):
    try:
        yield
    except OSError as error:
        # A damaged directory sends the reader to a place before the file's beginning. Other errors are the system's.
        if error.errno != errno.EINVAL:
            raise
        raise InputError(f"{path}: is not a complete ZIP archive ({error.strerror}); fetch it again") from None
    except (zipfile.BadZipFile, EOFError, ValueError, OverflowError, struct.error) as error:
        # ValueError: names that are not UTF-8, negative places; UnicodeDecodeError is one.
        raise InputError(f"{path}: is not a complete ZIP archive ({error}); fetch it again") from None
    except (NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as a ZIP archive ({error}); unpack it yourself") from None
