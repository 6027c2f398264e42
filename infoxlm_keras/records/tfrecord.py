"""Reads TFRecord files frame by frame and locates damage: shard, record and byte offset (no TensorFlow).

A frame is the length of the data (8 bytes, little endian), the masked CRC-32C of the length (4), the data, and the
masked CRC-32C of the data (4).
"""

import concurrent.futures
import os
import struct
from collections.abc import Iterator

import google_crc32c

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import object_ranges, storage

HEADER_BYTES, FOOTER_BYTES = 12, 4
REMEDY = "copy the file again, or build the records again"
_HEADER, _CRC = struct.Struct("<QI"), struct.Struct("<I")
_CRC_MASK_DELTA = 0xA282EAD8
_BUFFER_BYTES = 1 << 18


def read_frames(path: PathLike) -> Iterator[tuple[int, bytes]]:
    """Yields (offset, data) of every record in the TFRecord file `path`: int and bytes.

    Raises:
        InputError: at the first damaged frame; names the file, the record and the byte offset.
    """
    with _opened(path) as file:
        offset, number, size = 0, 0, _size(file)
        while (data := _read_frame(file, path, size, offset, number)) is not None:
            yield offset, data
            offset += HEADER_BYTES + len(data) + FOOTER_BYTES
            number += 1


def read_window(
    path: PathLike,
    first: int,
    count: int,
    offset: int = 0,
    passed: int = 0,
    ahead: "concurrent.futures.Future[tuple[int, bytes]] | None" = None,
) -> tuple[list[bytes], int]:
    """Records `first`..`first + count` of a TFRecord file, fewer if it ends before.

    Of records passed over to get there only the lengths are read (and checked).

    Args:
        path: str.
        first: int.
        count: int.
        offset: int, byte offset of record number `passed`, if known from an earlier call.
        passed: int <= first.
        ahead: optional future of `object_ranges.read_ahead`, for a shard in a store.

    Returns:
        (records, end): list of bytes, and the byte offset of the frame after them.

    Raises:
        InputError: if the file is missing or a frame is damaged; names the file, the record and the byte offset.
    """
    records = []
    with _opened(path, ahead) as file:
        size = _size(file)
        file.seek(offset)
        for number in range(passed, first):
            length = _read_length(file, path, size, offset, number)
            if length is None:
                break
            offset += HEADER_BYTES + length + FOOTER_BYTES
            file.seek(length + FOOTER_BYTES, os.SEEK_CUR)
        for number in range(first, first + count):
            data = _read_frame(file, path, size, offset, number)
            if data is None:
                break
            records.append(data)
            offset += HEADER_BYTES + len(data) + FOOTER_BYTES
    return records, offset


def describe_missing(path: PathLike, found: int, expected: int) -> InputError:
    """The `InputError` for a file that ends, between two records, before the manifest says."""
    return InputError(
        f"{path}: ends at byte {_size_at(path)} after {found} records, but its manifest says that there are at "
        f"least {expected}; {REMEDY}"
    )


def masked_crc(data: bytes) -> int:
    """int: the CRC-32C of `data`, rotated and shifted as TFRecord stores it."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _CRC_MASK_DELTA) & 0xFFFFFFFF


def _opened(path, ahead=None):
    if storage.is_remote(path):
        return object_ranges.ObjectFile(path, ahead)
    try:
        return open(path, "rb", buffering=_BUFFER_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REMEDY}") from None


def _size(file):
    return file.size if isinstance(file, object_ranges.ObjectFile) else os.fstat(file.fileno()).st_size


def _size_at(path):
    return object_ranges.object_size(path) if storage.is_remote(path) else os.path.getsize(path)


def _read_length(file, path, size, offset, number):
    """int, or None at the end of the file."""
    header = file.read(HEADER_BYTES)
    if not header:
        return None
    if len(header) < HEADER_BYTES:
        raise _damage(path, offset, number, "the file ends within the record's length")
    length, crc = _HEADER.unpack(header)
    if crc != masked_crc(header[:8]):
        raise _damage(path, offset, number, "its length does not match its checksum")
    # Checked before the data are read: a length can be wrong although its checksum matches.
    missing = offset + HEADER_BYTES + length + FOOTER_BYTES - size
    if missing > 0:
        raise _damage(path, offset, number, f"the file ends {missing} bytes before the record does")
    return length


def _read_frame(file, path, size, offset, number):
    """bytes, or None at the end of the file."""
    length = _read_length(file, path, size, offset, number)
    if length is None:
        return None
    body = file.read(length + FOOTER_BYTES)
    if len(body) < length + FOOTER_BYTES:
        raise _damage(path, offset, number, "the file was cut while it was read")
    data = body[:length]
    if _CRC.unpack_from(body, length)[0] != masked_crc(data):
        raise _damage(path, offset, number, "its data do not match their checksum")
    return data


def _damage(path, offset, number, reason):
    return InputError(f"{path}: is damaged at byte {offset} (record {number}): {reason}; {REMEDY}")
