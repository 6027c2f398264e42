"""Text files as chunks of whole lines: opening, decompression, and decoding with line numbers in every error.

A line ends at "\\n" and nowhere else (`splitlines` would also split at U+2028 and others, which misaligns pairs).
"""

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator
from typing import IO, Self

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import BUFFER_BYTES, DAMAGE, WindowError, compression_ending, decompressed
from infoxlm_keras.files.first_bytes import (
    DOCUMENTS,
    HEAD_BYTES,
    MARKUP_DOCUMENT,
    POINTER_BYTES,
    format_remedy,
    looks_like_text,
    markup_error,
    refuse_pointer,
)
from infoxlm_keras.text.readers.archive import open_member

# Large enough that a chunk's last, partly filled block is well under a thousandth of its tokens.
CHUNK_BYTES = 1 << 21
# No sentence is longer. The limit stops a file without line ends, or a decompression bomb, before memory is full.
LONGEST_LINE_BYTES = 1 << 24
BYTE_ORDER_MARK = "\ufeff"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Whole lines, or whole records, of an input, small enough for one worker.

    Attributes:
        first_line: int, number of the first line or record, from 1.
        bodies: tuple of bytes, one a file of the reader, undecoded; or one with records (see `packed.py`).
        bytes_read: int, bytes of the files on disk that were read for it (progress).
    """

    first_line: int
    bodies: tuple[bytes, ...]
    bytes_read: int


class LineStream:
    """The lines of a file, decompressed, as bytes; use it in a `with` statement.

    Every method raises `InputError` where the compressed data is damaged, ends too early or needs too much memory, and
    for a line above `LONGEST_LINE_BYTES`. Entering it raises for anything but a regular file (a FIFO could block).

    Args:
        path: str.
        member: str or None, the file's name inside the ZIP archive `path`.
    """

    def __init__(self, path: str, member: str | None = None) -> None:
        self.path = path
        self.member = member
        self.place = path if member is None else f"{path}: {member}"
        self.lines_before = 0

    def __enter__(self) -> Self:
        self.file = open_regular(self.path)
        self.start = 0
        if self.member is None:
            self.stream = decompressed(self.file, self.path)
        else:
            self.stream, self.start = open_member(self.file, self.path, self.member)
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    @property
    def position(self) -> int:
        """int: bytes of the file on disk read so far."""
        return self.file.tell() - self.start

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or as many as are left."""
        with self._errors():
            return self.stream.read(size)

    def read_body(self) -> bytes:
        """The next `CHUNK_BYTES` and the rest of their last line, bytes; empty at the end."""
        with self._errors():
            body = self.stream.read(CHUNK_BYTES)
            if body and not body.endswith(b"\n"):
                body += self.stream.readline(LONGEST_LINE_BYTES + 1)
        last_line = body.rfind(b"\n", 0, len(body) - 1) + 1
        self._check_length(len(body) - last_line, self.lines_before + body.count(b"\n", 0, last_line) + 1)
        self.lines_before += count_lines(body)
        return body

    def read_lines(self, number: int) -> list[bytes]:
        """The next `number` lines, or as many as are left: list of bytes."""
        lines = []
        with self._errors():
            for _ in range(number):
                line = self.stream.readline(LONGEST_LINE_BYTES + 1)
                if not line:
                    break
                lines.append(line)
                self._check_length(len(line), self.lines_before + len(lines))
        self.lines_before += len(lines)
        return lines

    def count_rest(self) -> int:
        """Counts the remaining lines; reads to the end."""
        lines, last = 0, b"\n"
        while block := self.read(BUFFER_BYTES):
            lines += block.count(b"\n")
            last = block
        return lines + (not last.endswith(b"\n"))

    def _check_length(self, length, number):
        if length > LONGEST_LINE_BYTES:
            raise InputError(
                f"{self.place}: line {number}: is longer than {LONGEST_LINE_BYTES:,} bytes, too long for a sentence; "
                "break it into lines, or remove it"
            )

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except EOFError:
            self._check_compressed()
            raise InputError(
                f"{self.place}: the compressed data ends too early (an interrupted download or copy?); fetch it again"
            ) from None
        except WindowError as error:
            raise InputError(f"{self.place}: {error}") from None
        except DAMAGE as error:
            raise self._damaged(error) from None
        except OSError as error:
            if error.errno is None:
                raise self._damaged(error) from None
            error.filename = self.path
            raise

    def _damaged(self, error):
        self._check_compressed()
        return InputError(f"{self.place}: the compressed data is damaged ({error}); fetch it again")

    def _check_compressed(self):
        """Raises `InputError` if the file is not compressed at all, or in another format than its name says."""
        if self.member is not None:
            return
        ending = compression_ending(self.path)
        self.file.seek(0)
        head = self.file.read(HEAD_BYTES)
        remedy = format_remedy(head)
        if remedy is None and looks_like_text(head):
            remedy = f"it is text that is not compressed: take the ending {ending} off its name"
        if remedy is not None and not remedy.endswith(f" {ending}"):
            raise InputError(f"{self.place}: is not what its ending {ending} says; {remedy}")


def open_regular(path: PathLike) -> IO[bytes]:
    """The file `path`, open for reading bytes.

    Raises:
        InputError: if it is missing, is no regular file (a FIFO could block, and cannot be read twice), or is a
            pointer of Git LFS to the file.
    """
    try:
        # Otherwise the opening of a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: is not a regular file; write its content into a file first")
    file = os.fdopen(descriptor, "rb")
    try:
        refuse_pointer(file.read(POINTER_BYTES), path)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def count_lines(body: bytes) -> int:
    """Lines in `body` (bytes); the last one may lack its newline."""
    return body.count(b"\n") + (not body.endswith(b"\n") if body else 0)


def file_chunks(path: str) -> Iterator[Chunk]:
    """Yields the `Chunk`s of one file."""
    first_line, position = 1, 0
    with LineStream(path) as stream:
        while body := stream.read_body():
            previous, position = position, stream.position
            yield Chunk(first_line, (body,), position - previous)
            first_line += count_lines(body)


def decode_lines(body: bytes, path: str, first_line: int) -> list[str]:
    """The lines of `body` as text, without line ends (LF or CRLF) and without a byte order mark.

    Args:
        body: bytes, whole lines.
        path: str, for messages.
        first_line: int, number of the first of them in the file.

    Returns:
        List of str, as many as `count_lines(body)`.

    Raises:
        InputError: on bytes that are not UTF-8, or a NUL; names the line. On a file that begins as a document does, of
            markup too.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + body.count(b"\n", 0, error.start)
        remedy = (
            "convert the file from its own encoding (`iconv -f ISO-8859-1 -t UTF-8`, for instance) or remove the line"
        )
        remedy = (first_line == 1 and format_remedy(body, path)) or remedy
        raise InputError(f"{path}: line {line}: is not UTF-8 ({error.reason}); {remedy}") from None
    if first_line == 1 and body.startswith(tuple(DOCUMENTS)):
        raise InputError(f"{path}: is not plain text; {format_remedy(body)}")
    if "\0" in text:
        line = first_line + text.count("\n", 0, text.index("\0"))
        remedy = "it is not a text file, or remove them with `tr -d '\\000'`"
        remedy = (first_line == 1 and format_remedy(body, path)) or remedy
        raise InputError(f"{path}: line {line}: holds a NUL byte; {remedy}")
    if first_line == 1:
        text = text.removeprefix(BYTE_ORDER_MARK)
        if MARKUP_DOCUMENT.match(text):
            raise markup_error(path)
    lines = text.split("\n")
    if body.endswith(b"\n"):
        lines.pop()
    if "\r" in text:
        lines = [line.removesuffix("\r") for line in lines]
    return lines
