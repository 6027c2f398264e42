"""The sentences of a file on disk, each text once, with the name of each: its line number or its own id."""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.search.sentences import input_size
from infoxlm_keras.text.readers.chunks import count_lines, decode_lines
from infoxlm_keras.text.readers.line_input import line_stream

NUMBER = np.dtype("<u8")
DIGEST_BYTES = 16


class SentenceStore:
    """The sentences of one side: `write` makes the files, the constructor opens them.

        PREFIX.txt         `id<TAB>sentence` a line, as UTF-8, every line of the input that is not blank
        PREFIX.offsets     uint64, start of each of these lines, and the end of the last
        PREFIX.first       uint64, for each line the number of the first line with its text
        PREFIX.distinct    uint64, the numbers of the lines whose text stands there for the first time

    Args:
        prefix: path, the files' name without ending.

    Attributes:
        first, distinct: int64 arrays, see above. A sentence's number below is its place in `distinct`.
    """

    def __init__(self, prefix: pathlib.Path) -> None:
        self.prefix = prefix
        self.offsets, self.first, self.distinct = (
            np.fromfile(_path(prefix, name), NUMBER).astype(np.int64) for name in ("offsets", "first", "distinct")
        )

    def __len__(self) -> int:
        return len(self.distinct)

    def rows(self, numbers: Array) -> list[tuple[str, str]]:
        """(id, sentence) of `numbers` (int [n], places in `distinct`)."""
        return self.lines(self.distinct[numbers])

    def lines(self, lines: Array) -> list[tuple[str, str]]:
        """(id, sentence) of `lines` (int [n], places in the file)."""
        found = []
        with open(_path(self.prefix, "txt"), "rb") as file:
            for line in lines:
                start, end = int(self.offsets[line]), int(self.offsets[line + 1])
                file.seek(start)
                name, _, text = file.read(end - start - 1).decode().partition("\t")
                found.append((name, text))
        return found

    def numbers_of(self, names: set[str]) -> dict[str, int]:
        """{id: number of its sentence} for those of `names` (set of str) that the side has.

        Raises:
            InputError: if one of them occurs twice.
        """
        place = {line: number for number, line in enumerate(self.distinct.tolist())}
        found: dict[str, int] = {}
        with open(_path(self.prefix, "txt"), "rb") as file:
            for line, row in enumerate(file):
                name = row.partition(b"\t")[0].decode()
                if name in names:
                    if name in found:
                        raise InputError(f"id {name}: two sentences have it; give each an id of its own")
                    found[name] = place[int(self.first[line])]
        return found

    @staticmethod
    def write(
        path: PathLike, prefix: pathlib.Path, with_ids: bool = False, progress: Callable[..., Any] | None = None
    ) -> dict[str, int]:
        """Reads a text file, a sentence a line, and writes the files of `prefix`.

        Memory holds about 50 bytes a sentence, none of the text.

        Args:
            path: str or path; .gz, .xz, .bz2 and .zst are read directly.
            prefix: path.
            with_ids: bool, each line is `id<TAB>sentence`, as in BUCC; False: the id is the line number, from 1.
            progress: optional function of (bytes of the file just read, sentences).

        Returns:
            {"lines", "blank", "repeated", "sentences"}: int each; lines = blank + repeated + sentences.

        Raises:
            InputError: for a line without an id, a file without sentences, or as `read_sentences`.
        """
        input_size(path)
        digests = bytearray()
        lengths: list[int] = []
        line = blank = 0
        with line_stream(path) as stream, open(_path(prefix, "txt"), "wb") as texts:
            before = 0
            while body := stream.read_body():
                rows = []
                for number, content in enumerate(decode_lines(body, stream.place, line + 1), line + 1):
                    name, text = _row(content, number, stream.place, with_ids)
                    if text:
                        rows.append(f"{name}\t{text}\n".encode())
                        digests += hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()
                    else:
                        blank += 1
                line += count_lines(body)
                texts.write(b"".join(rows))
                lengths += map(len, rows)
                if progress is not None:
                    progress(stream.position - before, len(rows))
                    before = stream.position
        if not lengths:
            raise InputError(f"{path}: holds no sentence")
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        first, distinct = _first_occurrences(digests)
        for name, array in (("offsets", offsets), ("first", first), ("distinct", distinct)):
            _path(prefix, name).write_bytes(array.astype(NUMBER).tobytes())
        counts = {"lines": line, "blank": blank, "repeated": len(lengths) - len(distinct), "sentences": len(distinct)}
        assert line == blank + counts["repeated"] + counts["sentences"]
        return counts


def _path(prefix, ending):
    return prefix.with_name(f"{prefix.name}.{ending}")


def _row(content, number, place, with_ids):
    if not with_ids:
        # White space inside a line is text; a tab would end a column of the output.
        return number, " ".join(content.split("\t")).strip()
    name, tab, text = content.partition("\t")
    name = name.strip()
    if content.strip() and not (tab and name):
        raise InputError(f"{place}: line {number}: has no id; with --ids each line is `id<TAB>sentence`")
    return name, " ".join(text.split("\t")).strip()


def _first_occurrences(digests):
    """(number of the first equal digest for each, numbers of the first ones): int64 arrays."""
    halves = np.frombuffer(bytes(digests), NUMBER).reshape(-1, 2)
    order = np.lexsort((np.arange(len(halves)), halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    starts = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    first = np.empty(len(order), np.int64)
    first[order] = order[starts][np.cumsum(starts) - 1]
    return first, np.flatnonzero(first == np.arange(len(first)))
