"""Pairs as columns: `<src>-<tgt>.tsv` (source, target), and WikiMatrix's (margin, source, target)."""

import dataclasses

from data_prep.readers.chunks import decode_lines, file_chunks
from data_prep.readers.packed import Texts
from infoxlm_keras.errors import InputError

# Schwenk et al. 2021, WikiMatrix, section 5: the threshold that serves most pairs of languages best.
MARGIN_THRESHOLD = 1.04


@dataclasses.dataclass(frozen=True)
class TabSeparatedPairs:
    """Pairs in one file; the interface is described in `data_prep.readers`."""

    name: str
    files: tuple[str]

    def chunks(self):
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk):
        """List of (source, target), without surrounding white space; a blank line is a pair of empty sides."""
        path, pairs = self.files[0], []
        for number, line in _numbered(chunk, path):
            columns = line.split("\t") if line.strip() else ("", "")
            if len(columns) != 2:
                remedy = "keep two with `cut -f1,2`" if len(columns) > 2 else "separate source and target by one tab"
                raise InputError(
                    f"{path}: line {number}: has {len(columns)} column(s), but source and target make two; {remedy}"
                )
            pairs.append((columns[0].strip(), columns[1].strip()))
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
    files: tuple[str]
    threshold: float = MARGIN_THRESHOLD

    def chunks(self):
        """Yields the file's `Chunk`s."""
        return file_chunks(self.files[0])

    def read(self, chunk):
        """`Texts` of (source, target), without surrounding white space; a blank line is a pair of empty sides."""
        path, pairs = self.files[0], Texts()
        for number, line in _numbered(chunk, path):
            columns = line.split("\t") if line.strip() else ("inf", "", "")
            if len(columns) != 3:
                raise InputError(
                    f"{path}: line {number}: has {len(columns)} column(s), but margin, source and target make three; "
                    "name a file of two columns <src>-<tgt>.tsv"
                )
            try:
                margin = float(columns[0])
            except ValueError:
                raise InputError(f"{path}: line {number}: its margin {columns[0]!r} is no number") from None
            if margin >= self.threshold:
                pairs.append((columns[1].strip(), columns[2].strip()))
            else:
                pairs.dropped["margin"] += 1
        return pairs


def _numbered(chunk, path):
    return enumerate(decode_lines(chunk.bodies[0], path, chunk.first_line), start=chunk.first_line)
