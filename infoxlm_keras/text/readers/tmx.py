"""`.tmx` (also compressed): translation memories, streamed; one file may hold many languages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_among, language_name, language_or_none
from infoxlm_keras.text.readers import chunks
from infoxlm_keras.text.readers.packed import OTHER_LANGUAGES, OTHER_VARIANTS, LeftOut, packed_chunks, unpack
from infoxlm_keras.text.readers.tmx_units import UnitHandler, read_units

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts

MALFORMED = "malformed"


@dataclasses.dataclass(frozen=True)
class TmxPairs:
    """Pairs of two of the languages in one file; implements `reader.Reader`.

    A unit that lacks one of the two languages is no pair and is passed over (`other_languages`), one that is malformed
    is left out (`malformed`); of several variants in one language the first is taken, and the others are passed over
    (`other_variants`). Inline markup is taken out.
    """

    name: str
    files: tuple[str, ...]

    def chunks(self) -> Iterator[Chunk]:
        """Yields the file's `Chunk`s."""
        languages = self.name.split("-")
        with chunks.LineStream(self.files[0]) as stream:
            yield from packed_chunks(self._pairs(stream, languages), lambda: stream.position)

    def read(self, chunk: Chunk) -> Texts:
        """`Texts` of (source, target)."""
        return unpack(chunk)

    def _pairs(self, stream, languages):
        known, found = {}, False
        for line, segments in read_units(stream):
            if segments is None:
                yield line, LeftOut(MALFORMED)
                continue
            sides: dict[str | None, str] = {}
            variants = 0
            for code, text in segments:
                if code not in known:
                    known[code] = language_among(code, languages)
                variants += known[code] is not None and known[code] in sides
                sides.setdefault(known[code], text)
            if all(language in sides for language in languages):
                found = True
                yield line, tuple(sides[language] for language in languages)
                for _ in range(variants):
                    yield line, LeftOut(OTHER_VARIANTS)
            else:
                yield line, LeftOut(OTHER_LANGUAGES)
        if not found:
            held = ", ".join(sorted(known)) or "none"
            raise InputError(
                f"{self.files[0]}: holds no pair of {' and '.join(languages)}; the languages in it are: {held}"
            )


def find_pairs(path: str) -> list[str]:
    """Names of the pairs in the TMX file `path`: list of str, the file's source language with each other one.

    Reads the whole file.

    Raises:
        InputError: for an unknown language code, for less than two languages, and as `read_units`.
    """
    languages, declared = {}, None
    with chunks.LineStream(path) as stream:
        handler = UnitHandler(path)
        for line, segments in read_units(stream, handler):
            for code, _ in segments or ():
                if code not in languages:
                    languages[code] = language_name(code, f"{path}: line {line}")
        declared = language_or_none(handler.source_language)
    names = list(dict.fromkeys(languages.values()))
    if len(names) < 2:
        raise InputError(f"{path}: holds {len(names)} language(s) ({', '.join(names) or 'none'}), no pairs")
    source = declared if declared in names else names[0]
    return [f"{source}-{target}" for target in names if target != source]
