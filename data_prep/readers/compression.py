"""Compressed files as streams of bytes that tell damage and truncation from the end."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib

import zstandard

COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst")
BUFFER_BYTES = 1 << 18
# What the libraries raise on damaged data; bz2 raises an OSError without a number.
DAMAGE = (gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError, zipfile.BadZipFile)


def decompressed(file, path):
    """A buffered binary stream of the content of `file` (open, binary), by the ending of `path`.

    Reading raises `EOFError` where the data ends too early, and `DAMAGE` or an OSError without a number where it is
    damaged.
    """
    if path.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=file), BUFFER_BYTES)
    if path.endswith(".xz"):
        return io.BufferedReader(lzma.LZMAFile(file), BUFFER_BYTES)
    if path.endswith(".bz2"):
        return io.BufferedReader(bz2.BZ2File(file), BUFFER_BYTES)
    if path.endswith(".zst"):
        return io.BufferedReader(ZstandardStream(file), BUFFER_BYTES)
    return file


class ZstandardStream(io.RawIOBase):
    """The content of all frames of a zstd file; unlike the library's own reader it notices a frame that is cut off.

    Args:
        file: binary file, open for reading.
    """

    # A block of 4 bytes stands for up to 128 kB: what one piece of input can become stays bounded.
    FEED_BYTES = 1 << 12

    def __init__(self, file):
        self.file = file
        self.frame = None
        self.compressed = b""
        self.ready = memoryview(b"")

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self.ready:
            data = self.compressed or self.file.read(self.FEED_BYTES)
            if not data:
                if self.frame is not None:
                    raise EOFError("the last frame is cut off")
                return 0
            self.compressed = b""
            if self.frame is None:
                self.frame = zstandard.ZstdDecompressor().decompressobj()
            self.ready = memoryview(self.frame.decompress(data))
            if self.frame.eof:
                self.compressed, self.frame = self.frame.unused_data, None
        size = min(len(buffer), len(self.ready))
        buffer[:size] = self.ready[:size]
        self.ready = self.ready[size:]
        return size
