"""`.tmx` (also compressed): translation memories, streamed; one file may hold many languages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import UnusableNameError, language_among, language_or_none, pair_languages
from infoxlm_keras.text.readers import chunks
from infoxlm_keras.text.readers.aligned import ENGLISH
from infoxlm_keras.text.readers.inputs import printable
from infoxlm_keras.text.readers.packed import (
    OTHER_LANGUAGES,
    OTHER_VARIANTS,
    UNKNOWN_LANGUAGE,
    LeftOut,
    packed_chunks,
    unpack,
)
from infoxlm_keras.text.readers.reader import Text
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

    @property
    def texts(self) -> list[Text]:
        """List of `Text`: the pairs of the two languages, in either direction."""
        return [Text(self.files, frozenset(pair_languages(self.name)))]

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
        self._reasons: dict[str, str] = {}

    def reason(self, code: str) -> str | None:
        """The reason (str) to pass over a text with this code (str), or None if the code stands for a language."""
        if language_or_none(code):
            return None
        if code not in self._reasons:
            if len(self._reasons) >= MOST_UNKNOWN:
                return f"{UNKNOWN_LANGUAGE} (others)"
            self._reasons[code] = f"{UNKNOWN_LANGUAGE} {printable(code[:CODE_CHARACTERS]) or '(empty)'}"
        return self._reasons[code]

    def codes(self) -> list[str]:
        """List of str, fit for any output: what was asked for and stands for no language."""
        return [printable(code[:CODE_CHARACTERS]) or "''" for code in self._reasons]


def find_pairs(path: str) -> list[str]:
    """Names of the pairs in the TMX file `path`: list of str, one language with each that shares a unit with it.

    The one language is the header's source language. Where the header names none (`*all*`), or one that shares no unit
    with another, it is English, or else the language in most units. Reads the whole file. A code that stands for no
    language gives no pair; `TmxPairs` counts its texts.

    Raises:
        UnusableNameError: for less than two languages, or no unit in two of them.
        InputError: as `read_units`.
    """
    languages, unknown = UnitLanguages(), UnknownCodes()
    with chunks.LineStream(path) as stream:
        handler = UnitHandler(path)
        for _, segments in read_units(stream, handler):
            languages.add(language_or_none(code) for code, _ in segments or () if not unknown.reason(code))
        declared = language_or_none(handler.source_language)
    if pairs := languages.pairs(declared):
        return pairs
    names = list(languages.units)
    if len(names) > 1:
        raise UnusableNameError(
            f"{path}: holds {len(names)} languages ({', '.join(names)}), but no unit in two of them; export it again, "
            "with each text and its translations in one unit",
            "holds no unit in two languages",
        )
    others = ", ".join(unknown.codes()[:MOST_UNKNOWN])
    remedy = f"; no languages are: {others}; correct their xml:lang" if others else ""
    raise UnusableNameError(
        f"{path}: holds {len(names)} language(s) ({', '.join(names) or 'none'}), no pairs{remedy}",
        "does not hold two languages",
    )


class UnitLanguages:
    """In how many units each language is, and which languages share a unit.

    Attributes:
        units: dict of language (str) to the number of units that hold it, in the order of the file.
    """

    def __init__(self) -> None:
        self.units: dict[str, int] = {}
        # One bit for each language, in the order of `units`: a translation memory may hold hundreds of them.
        self._bits: dict[str, int] = {}
        self._shared: dict[str, int] = {}

    def add(self, names: Iterable[str | None]) -> None:
        """Adds one unit with these languages; None stands for no language."""
        found = [name for name in dict.fromkeys(names) if name is not None]
        together = 0
        for name in found:
            together |= self._bits.setdefault(name, 1 << len(self._bits))
        for name in found:
            self.units[name] = self.units.get(name, 0) + 1
            self._shared[name] = self._shared.get(name, 0) | (together & ~self._bits[name])

    def pairs(self, declared: str | None) -> list[str]:
        """Names of pairs (list of str): one side is `declared` (str or None) if it shares a unit with any language."""
        paired = [name for name in self.units if self._shared[name]]
        if not paired:
            return []
        source = next((name for name in (declared, ENGLISH) if name in paired), None)
        source = source or max(paired, key=lambda name: self.units[name])
        return [f"{source}-{name}" for name in self.units if self._shared[source] & self._bits[name]]
