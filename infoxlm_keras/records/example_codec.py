"""Integer lists as the bytes of `tf.train.Example` in a TFRecord frame, without TensorFlow.

The same bytes as `tf.train.Example(...).SerializeToString(deterministic=True)` written by `tf.io.TFRecordWriter`, so
that a worker needs neither TensorFlow (seconds to import, half a gigabyte) nor a Python object for each token.
"""

import itertools
import struct
from collections.abc import Mapping, Sequence

import google_crc32c
import numpy as np

from infoxlm_keras.annotations import Array

_CRC_MASK_DELTA = 0xA282EAD8


def encode_varints(values: Sequence[int] | Array) -> tuple[bytes, Array]:
    """Protocol-buffer varints of many integers at once.

    Args:
        values: integer array [n]; negative ones take ten bytes, as int64 does in protocol buffers.

    Returns:
        (buffer, offsets): bytes of all values one after another; int64 [n + 1], where each begins.
    """
    values = np.asarray(values, np.int64).view(np.uint64)
    sizes = np.ones(len(values), np.int64)
    largest = int(values.max(initial=0))
    for bits in range(7, 64, 7):
        if largest >> bits == 0:
            break
        sizes += values >= np.uint64(1 << bits)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    buffer = np.empty(offsets[-1], np.uint8)
    for place in range(int(sizes.max(initial=0))):
        present = sizes > place
        groups = (values[present] >> np.uint64(7 * place)).astype(np.uint8) & 0x7F
        continued = (sizes[present] > place + 1).astype(np.uint8) << 7
        buffer[offsets[:-1][present] + place] = groups | continued
    return buffer.tobytes(), offsets


def encode_examples(features: Mapping[str, tuple[Array, Array]]) -> list[bytes]:
    """One serialized `tf.train.Example` a row.

    Args:
        features: dict of feature name to (values, offsets): integer array [n], and int array [rows + 1]; row i of
            the feature is `values[offsets[i]:offsets[i + 1]]`, an int64 list. All features have the same rows.

    Returns:
        List of bytes, one a row.
    """
    columns = []
    for name in sorted(features):
        values, offsets = features[name]
        buffer, byte_offsets = encode_varints(values)
        bounds = byte_offsets[np.asarray(offsets)].tolist()
        key = _field(0x0A, name.encode())
        # Map entry {1: name, 2: Feature {3: Int64List {1: packed varints}}}; an empty list leaves its field out.
        columns.append(
            [
                _field(0x0A, key + _field(0x12, _field(0x1A, _field(0x0A, buffer[start:end]) if end > start else b"")))
                for start, end in itertools.pairwise(bounds)
            ]
        )
    return [_field(0x0A, b"".join(row)) for row in zip(*columns, strict=True)]


def frame_record(data: bytes) -> bytes:
    """`data` (bytes) as a TFRecord: length, masked CRC-32C of the length, data, masked CRC-32C of the data."""
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _field(tag, body):
    """A length-delimited protocol-buffer field; `tag` is its first byte."""
    size, length = len(body), [tag]
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes(length) + body


def _masked_crc(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _CRC_MASK_DELTA) & 0xFFFFFFFF)
