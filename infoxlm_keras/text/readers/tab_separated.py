"""Pairs as columns: `<src>-<tgt>.tsv` (source, target), and WikiMatrix's (margin, source, target).

A first line that names the columns is left out, and counted as `header`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.readers.chunks import decode_lines, file_chunks
from infoxlm_keras.text.readers.columns import column_of_numbers, columns_advice, is_number
from infoxlm_keras.text.readers.header import is_header
from infoxlm_keras.text.readers.packed import Texts

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk

# Schwenk et al. 2021, WikiMatrix, section 5: the threshold that is best for most pairs of languages.
MARGIN_THRESHOLD = 1.04


@dataclasses.dataclass(frozen=True)
class TabSeparatedPairs:
    """Pairs in one file; implements `reader.Reader`."""

    name: str
    files: tuple[str, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of (source, target), without surrounding white space; a blank line is a pair of empty sides."""
        path, pairs = self.files[0], Texts()
        lines = decode_lines(chunk.bodies[0], path, chunk.first_line)
        for number, line in enumerate(lines, start=chunk.first_line):
            columns = line.split("\t") if line.strip() else ("", "")
            if len(columns) != 2:
                raise InputError(
                    f"{path}: line {number}: has {len(columns)} column(s) instead of two, source and target; "
                    f"{columns_advice(lines, line)}"
                )
            if number == 1 and is_header(columns, self.name, f"{path}: line 1"):
                pairs.dropped["header"] += 1
                continue
            pairs.append((columns[0].strip(), columns[1].strip()))
        if numbers := column_of_numbers([pair for pair in pairs if any(pair)]):
            raise InputError(
                f"{path}: line {chunk.first_line}: its column {numbers} holds only numbers: scores or keys, "
                "not sentences; give a file with source and target"
            )
        return pairs


@dataclasses.dataclass(frozen=True)
class MarginPairs:
    """Mined pairs with their margin score; those below `threshold` are left out and counted as `margin`.

    Args:
        name: str, the pair.
        files: tuple of one path.
        threshold: float, least margin.
    """

    name: str
    files: tuple[str, ...]
    threshold: float = MARGIN_THRESHOLD

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of (source, target), without surrounding white space; a blank line is a pair of empty sides."""
        path, pairs = self.files[0], Texts()
        for number, line in _numbered(chunk, path):
            columns = line.split("\t") if line.strip() else ("inf", "", "")
            if len(columns) != 3:
                raise InputError(
                    f"{path}: line {number}: has {len(columns)} column(s) instead of three, margin, source and "
                    "target; if it has two columns, name it <src>-<tgt>.tsv; if it has more, "
                    "keep these three (those of `infoxlm mine-bitext --write_ids` come first: `cut -f1-3`)"
                )
            if number == 1 and not is_number(columns[0]) and is_header(columns[1:], self.name, f"{path}: line 1"):
                pairs.dropped["header"] += 1
                continue
            try:
                margin = float(columns[0])
            except ValueError:
                raise InputError(
                    f"{path}: line {number}: its margin {columns[0]!r} is not a number; the columns are margin, "
                    "source and target"
                ) from None
            if margin >= self.threshold:
                pairs.append((columns[1].strip(), columns[2].strip()))
            else:
                pairs.dropped["margin"] += 1
        return pairs


def _numbered(chunk, path):
    return enumerate(decode_lines(chunk.bodies[0], path, chunk.first_line), start=chunk.first_line)
