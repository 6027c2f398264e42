"""`.tmx` (also compressed): translation memories, streamed; one file may hold many languages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import UnusableNameError, language_among, language_or_none
from infoxlm_keras.text.readers import chunks
from infoxlm_keras.text.readers.inputs import printable
from infoxlm_keras.text.readers.packed import (
    OTHER_LANGUAGES,
    OTHER_VARIANTS,
    UNKNOWN_LANGUAGE,
    LeftOut,
    packed_chunks,
    unpack,
)
from infoxlm_keras.text.readers.tmx_units import UnitHandler, read_units

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import Chunk
    from infoxlm_keras.text.readers.packed import Texts

MALFORMED = "malformed"
# How many codes of no language are counted by name, and the most characters of one.
MOST_UNKNOWN, CODE_CHARACTERS = 20, 40


@dataclasses.dataclass(frozen=True)
class TmxPairs:
    """Pairs of two of the languages in one file; implements `reader.Reader`.

    A unit that lacks one of the two languages is no pair and is passed over (`other_languages`), one that is malformed
    is left out (`malformed`); of several variants in one language the first is taken, and the others are passed over
    (`other_variants`). A text whose code stands for no language (`x-none`, `und`, empty) is passed over, too
    (`unknown_language` and the code). Inline markup is taken out.
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
        known, unknown, found = {}, UnknownCodes(), False
        for line, segments in read_units(stream):
            if segments is None:
                yield line, LeftOut(MALFORMED)
                continue
            sides: dict[str | None, str] = {}
            variants = 0
            for code, text in segments:
                if code not in known:
                    known[code] = language_among(code, languages)
                if known[code] is None and (reason := unknown.reason(code)):
                    yield line, LeftOut(reason)
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
            held = ", ".join(sorted(printable(code) or "''" for code in known)) or "none"
            raise InputError(
                f"{self.files[0]}: holds no pair of {' and '.join(languages)}; the languages in it are: {held}"
            )


class UnknownCodes:
    """The codes in one file that stand for no language, by the reasons that they are counted under."""

    def __init__(self) -> None:
        self._reasons: dict[str, str | None] = {}

    def reason(self, code: str) -> str | None:
        """The reason (str) to pass over a text with this code (str), or None if the code stands for a language."""
        if code not in self._reasons:
            self._reasons[code] = None if language_or_none(code) else self._name(code)
        return self._reasons[code]

    def codes(self) -> list[str]:
        """List of str, fit for any output: what was asked for and stands for no language."""
        return [printable(code[:CODE_CHARACTERS]) or "''" for code, reason in self._reasons.items() if reason]

    def _name(self, code):
        if len(set(filter(None, self._reasons.values()))) >= MOST_UNKNOWN:
            return f"{UNKNOWN_LANGUAGE} (others)"
        return f"{UNKNOWN_LANGUAGE} {printable(code[:CODE_CHARACTERS]) or '(empty)'}"


def find_pairs(path: str) -> list[str]:
    """Names of the pairs in the TMX file `path`: list of str, the file's source language with each other one.

    Reads the whole file. A code that stands for no language gives no pair; `TmxPairs` counts its texts.

    Raises:
        UnusableNameError: for less than two languages.
        InputError: as `read_units`.
    """
    languages: dict[str, str] = {}
    declared, unknown = None, UnknownCodes()
    with chunks.LineStream(path) as stream:
        handler = UnitHandler(path)
        for _, segments in read_units(stream, handler):
            for code, _ in segments or ():
                if code not in languages and not unknown.reason(code):
                    languages[code] = language_or_none(code) or ""
        declared = language_or_none(handler.source_language)
    names = list(dict.fromkeys(languages.values()))
    if len(names) < 2:
        others = ", ".join(unknown.codes()[:MOST_UNKNOWN])
        remedy = f"; no languages are: {others}; correct their xml:lang" if others else ""
        raise UnusableNameError(
            f"{path}: holds {len(names)} language(s) ({', '.join(names) or 'none'}), no pairs{remedy}",
            "does not hold two languages",
        )
    source = declared if declared in names else names[0]
    return [f"{source}-{target}" for target in names if target != source]
