"""Decompression as streams of bytes that detect damage, truncation and trailing bytes.

A file may hold several streams, one after another (as pbzip2, pigz, pixz and `cat` write them). All of them are read,
and what follows a stream must be another one, or padding that the format's own tool accepts.
"""

import bz2
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, TypeAlias

import zstandard

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst")
BUFFER_BYTES = 1 << 18
# The most memory that a zstd window or an xz dictionary may ask for: what `zstd --long=31` writes, and `xz` can.
MOST_WINDOW_BYTES = 1 << 31
# The longest header of a zstd frame.
ZSTD_HEADER_BYTES = 18


class DamagedError(Exception):
    """Compressed data that its own tool would refuse, or would ignore with a warning."""


class WindowError(Exception):
    """Data whose decompression needs more memory than `MOST_WINDOW_BYTES`, or than there is."""


# What the libraries raise on damaged data; bz2 raises an OSError without a number.
DAMAGE = (DamagedError, lzma.LZMAError, zlib.error, zstandard.ZstdError, zipfile.BadZipFile)


def decompressed(file: IO[bytes], path: str) -> IO[bytes]:
    """A buffered binary stream of the content of `file` (open, binary), by the ending of `path`.

    Reading raises `EOFError` where the data ends too early, `WindowError` where it needs too much memory, and `DAMAGE`
    or an OSError without a number where it is damaged. Damaged is what `gzip -t`, `xz -t`, `bzip2 -t` and `zstd -t`
    refuse, and also bytes behind the last stream that `gzip` and `bzip2` ignore with a warning: they may be a stream
    whose beginning is damaged.
    """
    ending = compression_ending(path)
    if ending is None:
        return file
    return io.BufferedReader(ConcatenatedStreams(file, FORMATS[ending]()), BUFFER_BYTES)


def decompressed_by(path: str) -> str | None:
    """The command (str) that decompresses the file `path` (str), known by its ending, beside itself; or None."""
    ending = compression_ending(path)
    return None if ending is None else f"{FORMATS[ending]().name} -dk"


def compression_ending(path: str) -> str | None:
    """The one of `COMPRESSIONS` that `path` (str) ends with, in whatever case; None if it ends with none of them."""
    return next((ending for ending in COMPRESSIONS if path.lower().endswith(ending)), None)


class ConcatenatedStreams(io.RawIOBase):
    """The content of all compressed streams in a file.

    Args:
        file: binary file, open for reading.
        format: object that describes the format, as `_Gzip`.
    """

    def __init__(self, file: IO[bytes], format: "Format") -> None:
        self.file, self.format = file, format
        self.stream: Any = None
        self.streams = 0
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self.stream is None and not self._begin():
                return 0
            data = b""
            if self.stream.needs_input:
                data, self.rest = self.rest or self.file.read(self.format.feed_bytes), b""
                if not data:
                    raise EOFError("the last stream is cut off")
            content = self.stream.decompress(data, len(buffer))
            if self.stream.eof:
                self.rest, self.stream = self.stream.unused_data, None
            if content:
                buffer[: len(content)] = content
                return len(content)

    def _begin(self):
        """Begins the next stream; False at the end of the file."""
        multiple = self.format.padding_multiple if self.streams else None
        padding = self._skip_padding() if multiple else 0
        magic = self.format.magic
        self._fill(max(1, len(magic)))
        if multiple and padding % multiple:
            raise DamagedError(f"{padding} NUL bytes follow its stream {self.streams}, no multiple of four")
        if not self.rest:
            if not self.streams:
                raise EOFError("the file is empty")
            return False
        if self.streams:
            if not self.rest.startswith(magic[: len(self.rest)]) or not self.format.several_streams:
                raise DamagedError(f"what follows its stream {self.streams} is not {self.format.name} data")
            if padding and not self.format.stream_after_padding:
                raise DamagedError(f"NUL bytes and more data follow its stream {self.streams}")
            if len(self.rest) < len(magic):
                raise EOFError("the last stream is cut off")
        self.stream = self.format.begin(self.rest)
        self.streams += 1
        return True

    def _skip_padding(self):
        """Passes over NUL bytes; how many there were."""
        padding = 0
        while True:
            self._fill(1)
            stripped = self.rest.lstrip(b"\0")
            padding += len(self.rest) - len(stripped)
            ended = not self.rest
            self.rest = stripped
            if stripped or ended:
                return padding

    def _fill(self, size):
        while len(self.rest) < size and (data := self.file.read(self.format.feed_bytes)):
            self.rest += data


class _Gzip:
    """The gzip format.

    Attributes:
        name: str, for messages.
        magic: bytes, with which every stream begins.
        several_streams: bool, whether a stream may follow another.
        padding_multiple: int or None, NUL bytes behind a stream come in multiples of it; None where there are none.
        stream_after_padding: bool, whether a stream may follow NUL bytes.
        feed_bytes: int, bytes to read from the file at once.
    """

    name = "gzip"
    magic = b"\x1f\x8b"
    several_streams = True
    # Tapes pad with NUL bytes at the end, which `gzip -t` accepts without a warning; it ignores a stream behind them.
    padding_multiple, stream_after_padding = 1, False
    feed_bytes = BUFFER_BYTES

    def begin(self, head):
        return _GzipStream()


class _Bzip2:
    name = "bzip2"
    magic = b"BZh"
    several_streams = True
    # `bzip2 -t` warns of any bytes behind the last stream, NUL bytes too.
    padding_multiple, stream_after_padding = None, False
    feed_bytes = BUFFER_BYTES

    def begin(self, head):
        return bz2.BZ2Decompressor()


class _Xz:
    name = "xz"
    magic = b"\xfd7zXZ\0"
    several_streams = True
    # Section 2.2 of the format: stream padding.
    padding_multiple: int | None = 4
    stream_after_padding = True
    feed_bytes = BUFFER_BYTES

    def begin(self, head):
        # `xz` also reads the older .lzma format, which knows neither several streams nor padding.
        if not head.startswith(self.magic):
            self.several_streams, self.padding_multiple = False, None
        return _XzStream()


class _Zstandard:
    name = "zstd"
    several_streams = True
    # Frames that a reader skips have another one, so that the library looks at it.
    magic = b""
    padding_multiple, stream_after_padding = None, False
    # A block of 4 bytes stands for up to 128 kB: what one piece of input can become stays bounded.
    feed_bytes = 1 << 12

    def __init__(self):
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW_BYTES)

    def begin(self, head):
        return _ZstandardFrame(self.decompressor.decompressobj())


class _GzipStream:
    """One gzip member, with the interface of `bz2.BZ2Decompressor`."""

    def __init__(self):
        # 31: with a gzip header, whose checksum and flags are checked too.
        self.inflater = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self):
        return self.inflater.eof

    @property
    def unused_data(self):
        return self.inflater.unused_data

    def decompress(self, data, most):
        content = self.inflater.decompress(self.inflater.unconsumed_tail + data, most)
        self.needs_input = len(content) < most and not self.inflater.unconsumed_tail
        return content


class _XzStream:
    """One xz stream, with the interface of `bz2.BZ2Decompressor`."""

    def __init__(self):
        self.decompressor = lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=MOST_WINDOW_BYTES)

    def __getattr__(self, name):
        return getattr(self.decompressor, name)

    def decompress(self, data, most):
        try:
            content = self.decompressor.decompress(data, most)
        except (lzma.LZMAError, MemoryError) as error:
            if isinstance(error, MemoryError) or "emory usage limit" in str(error):
                raise WindowError(
                    f"its xz dictionary needs more memory than there is, or than {MOST_WINDOW_BYTES >> 20:,} MiB; "
                    "compress it again with a smaller one, as `xz -dc OLD | xz -9 > NEW` does"
                ) from None
            raise
        if self.eof and not lzma.is_check_supported(self.check):
            raise DamagedError(f"its integrity check of type {self.check} is unknown, so it cannot be verified")
        return content


class _ZstandardFrame:
    """One zstd frame, with the interface of `bz2.BZ2Decompressor`."""

    def __init__(self, frame):
        self.frame = frame
        self.head = b""
        self.ready: bytes | memoryview = b""
        self.needs_input = True

    @property
    def eof(self):
        return self.frame.eof and not self.ready

    @property
    def unused_data(self):
        return self.frame.unused_data

    def decompress(self, data, most):
        if data:
            self.head += data[: ZSTD_HEADER_BYTES - len(self.head)]
            try:
                self.ready = memoryview(self.frame.decompress(data))
            except zstandard.ZstdError as error:
                if "memory" in str(error).lower():
                    raise WindowError(self._window_message()) from None
                raise
        content, self.ready = self.ready[:most], self.ready[most:]
        self.needs_input = not self.ready and not self.frame.eof
        return content

    def _window_message(self):
        window = zstandard.get_frame_parameters(self.head).window_size
        return (
            f"its zstd window of {window / (1 << 20):,.0f} MiB needs more memory than there is, or than the "
            f"{MOST_WINDOW_BYTES >> 20:,} MiB that are read; compress it again with a smaller one, as "
            "`zstd -dc --long=31 OLD | zstd > NEW` does"
        )


Format: TypeAlias = _Gzip | _Bzip2 | _Xz | _Zstandard
FORMATS: dict[str, Callable[[], Format]] = dict(zip(COMPRESSIONS, (_Gzip, _Xz, _Bzip2, _Zstandard), strict=True))
