"""Reads the sentences and queries of `infoxlm search` from text files or standard input."""

import os
from collections.abc import Iterator, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.chunks import count_lines, decode_lines
from infoxlm_keras.text.readers.inputs import refuse_archive, refuse_records
from infoxlm_keras.text.readers.line_input import STANDARD_INPUT, line_stream


def input_size(path: PathLike) -> int | None:
    """Bytes of an input file for a progress bar; None for standard input.

    Raises:
        InputError: if there is no such file, it is not a regular file, or its ending is that of a format with records
            instead of lines of text.
    """
    if str(path) == STANDARD_INPUT:
        return None
    line_stream(path)
    refuse_archive(path)
    refuse_records(path)
    return os.path.getsize(path)


def read_sentences(path: PathLike, size: int) -> Iterator[tuple[list[tuple[int, bytes]], int]]:
    """Yields (list of at most `size` (line number, bytes), bytes of the file read since the last list); skips empty
    lines.

    Compression (.gz, .xz, .bz2, .zst), encoding and line ends are handled as by the builders. Leading and
    trailing white space is removed.

    Args:
        path: str or path; `-` for standard input.
        size: int, sentences a list.

    Raises:
        InputError: if the compressed data is damaged, a line is not UTF-8, holds NUL or is longer than 16 MiB.
    """
    batch, first_line, before = [], 1, 0
    with line_stream(path) as stream:
        while body := stream.read_body():
            for number, line in enumerate(decode_lines(body, stream.place, first_line), first_line):
                text = line.strip()
                if text:
                    batch.append((number, text.encode()))
                if len(batch) == size:
                    position = stream.position
                    yield batch, position - before
                    batch, before = [], position
            first_line += count_lines(body)
        if batch:
            yield batch, stream.position - before


def read_queries(texts: Sequence[str] | None, path: PathLike | None) -> list[bytes]:
    """The queries of a command line, list of bytes.

    Args:
        texts: list of str or None.
        path: file with one query a line, `-` for standard input, or None.

    Raises:
        InputError: if there is no query, not exactly one of both is given, or as `read_sentences`.
    """
    if (texts is None) == (path is None):
        raise InputError("no query: give either --text TEXT or --file FILE")
    if path is None:
        assert texts is not None
        return [os.fsencode(text) for text in texts]
    input_size(path)
    queries = [text for batch, _ in read_sentences(path, 1000) for _, text in batch]
    if not queries:
        raise InputError(f"{path}: holds no query")
    return queries
