"""The lines of a text file as the builders read them, or of standard input."""

import os
import sys
from typing import Self

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines
from infoxlm_keras.text.readers.inputs import path_kind

STANDARD_INPUT = "-"
# Descriptors that the shell opened (`<(command)`): a pipe among them ends when its writer does.
OPEN_STREAMS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")


class StandardInput(LineStream):
    """`LineStream` of standard input, as it comes."""

    def __init__(self) -> None:
        super().__init__("standard input")

    def __enter__(self) -> Self:
        self.file = self.stream = sys.stdin.buffer
        return self

    def __exit__(self, *exception: object) -> None:
        """Leaves standard input open."""

    @property
    def position(self) -> int:
        return 0


def line_stream(path: PathLike) -> LineStream:
    """The `LineStream` of a file, decompressed by its ending (.gz, .xz, .bz2, .zst); `-` is standard input.

    Args:
        path: str or path.

    Raises:
        InputError: if there is no such file, or it is a folder or something else that is no file (a FIFO would wait
            for ever).
    """
    if str(path) == STANDARD_INPUT:
        return StandardInput()
    if not str(path).startswith(OPEN_STREAMS):
        kind = path_kind(path)
        if kind is None:
            raise InputError(f"{path}: no such file")
        if kind == "folder":
            raise InputError(f"{path}: is a folder; name a file in it")
    return LineStream(os.fspath(path))


def all_lines(path: PathLike) -> list[str]:
    """The lines of a small file, without their ends; arguments and errors as of `line_stream` and `decode_lines`."""
    lines: list[str] = []
    with line_stream(path) as stream:
        while body := stream.read_body():
            lines += decode_lines(body, stream.place, len(lines) + 1)
    return lines
