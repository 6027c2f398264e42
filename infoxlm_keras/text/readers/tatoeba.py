"""Tatoeba's exports: `sentences.csv` (id, language, text) and `links.csv` (id, id of a translation), by tabs.

The sentences of the languages asked for are held in memory, about 100 bytes each; the links are streamed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_or_none, pair_languages
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines
from infoxlm_keras.text.readers.packed import check_text, packed_chunks, unpack
from infoxlm_keras.text.readers.reader import Text

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts


@dataclasses.dataclass(frozen=True)
class TatoebaPairs:
    """Pairs of two languages, in the order of the links; implements `reader.Reader`.

    Args:
        name: str, the pair.
        files: paths of the sentences and of the links.
    """

    name: str
    files: tuple[str, ...]

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: the pairs of the two languages, in either direction."""
        return [Text(self.files, frozenset(pair_languages(self.name)))]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the `Chunk`s of the export."""
        sentences_file, links_file = self.files
        source, target = self.name.split("-")
        sentences: dict[str, dict[str, str]] = {source: {}, target: {}}
        for _, number, language, text in read_sentences(sentences_file):
            if language in sentences:
                sentences[language][number] = text
        size = os.path.getsize(sentences_file)
        with LineStream(links_file) as stream:
            pairs = self._pairs(stream, sentences[source], sentences[target])
            yield from packed_chunks(pairs, lambda: size + stream.position)

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of (source, target)."""
        return unpack(chunk)

    def _pairs(self, stream, sources, targets):
        found = False
        for line, columns in read_rows(stream, 2, "an id and the id of its translation"):
            # Each link is there both ways.
            if columns[0] in sources and columns[1] in targets:
                found = True
                yield line, (sources[columns[0]], targets[columns[1]])
        if not found:
            raise InputError(f"{self.files[0]}: holds no pair of {self.name.replace('-', ' and ')}; check the codes")


@dataclasses.dataclass(frozen=True)
class TatoebaSentences:
    """The sentences of one language, unconnected; implements `reader.Reader`."""

    name: str
    files: tuple[str, ...]

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: the sentences of the language."""
        return [Text(self.files, self.name)]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the `Chunk`s of the export."""
        with LineStream(self.files[0]) as stream:
            yield from packed_chunks(self._sentences(stream), lambda: stream.position)

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of str."""
        return unpack(chunk)

    def _sentences(self, stream):
        found = False
        for line, _, language, text in _sentences(stream):
            if language == self.name:
                found = True
                yield line, [text, ""]
        if not found:
            raise InputError(f"{self.files[0]}: holds no sentence in {self.name}; check the code")


def read_sentences(path: str) -> Iterator[tuple[int, str, str | None, str]]:
    """Yields (line, id, language name or None, text) for the rows of a sentences file."""
    with LineStream(path) as stream:
        yield from _sentences(stream)


def _sentences(stream):
    for line, (number, code, text) in read_rows(stream, 3, "id, language and text"):
        yield line, number, language_or_none(code), check_text(text.strip(), f"{stream.place}: line {line}")


def read_rows(stream: LineStream, width: int, meaning: str) -> Iterator[tuple[int, list[str]]]:
    """Yields (line, columns) for the rows of a `LineStream`, blank ones left out.

    Raises:
        InputError: if a row has not `width` columns; `meaning` says which they are.
    """
    first = 1
    while body := stream.read_body():
        lines = decode_lines(body, stream.place, first)
        for line, row in enumerate(lines, start=first):
            if not row.strip():
                continue
            columns = row.split("\t")
            if len(columns) != width:
                raise InputError(
                    f"{stream.place}: line {line}: has {len(columns)} column(s), but {meaning} make {width}"
                )
            yield line, columns
        first += len(lines)
