"""Translation units of TMX, streamed; a malformed one is left out alone."""

from __future__ import annotations

import codecs
import contextlib
import re
import xml.sax
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import defusedxml.common
import defusedxml.expatreader

from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import format_remedy, wide_encoding
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.text.readers import chunks
from infoxlm_keras.text.readers.packed import check_text, one_line

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.chunks import LineStream

# Elements of a segment whose content is markup of the document it was taken from, not text.
MARKUP = {"bpt", "ept", "it", "ph", "ut"}
# A file is refused if more than this share of its units is malformed. In a small file a few units make up such a
# share, so fewer than this number never do.
MOST_MALFORMED, LEAST_MALFORMED = 0.1, 10
MOST_UNIT_BYTES = 4 * chunks.LONGEST_LINE_BYTES
# Where a malformed unit ends; failing that, where the next one begins, or where all of them end.
BEGIN_OF_UNIT = re.compile(rb"<tu[\s>]")
END_OF_UNIT = re.compile(rb"(?P<end></tu\s*>)|<tu[\s>]|</body\s*>")
SECTION = b"<![CDATA["
END_OF_SECTION = re.compile(rb"\]\]>")


def read_units(
    stream: LineStream, handler: UnitHandler | None = None
) -> Iterator[tuple[int, list[tuple[str, str]] | None]]:
    """Yields (line, [(language code, text), ...]) for each translation unit, and (line, None) for a malformed one.

    A unit that is not well-formed XML (a control character, a lone `&`, a tag that is not closed) is left out. It
    does not affect what stands before its `<tu>` and after its `</tu>`. A text without xml:lang has the code "".

    Args:
        stream: `LineStream`, open.
        handler: `UnitHandler`, or None for a new one.

    Raises:
        InputError: for XML that is not well-formed outside of units, or ends within one; is no TMX; declares entities
            (whose expansion can fill any memory, and which can name files); or has more malformed
            units than `MOST_MALFORMED` and `LEAST_MALFORMED` allow. Names the line.
    """
    handler = handler or UnitHandler(stream.path)
    good = malformed = 0
    for line, segments in _Units(stream, handler):
        good, malformed = good + (segments is not None), malformed + (segments is None)
        yield line, segments
    if malformed and (not good or (malformed >= LEAST_MALFORMED and malformed > MOST_MALFORMED * (good + malformed))):
        raise InputError(
            f"{handler.path}: {handler.problem}; so are {malformed:,} of its {good + malformed:,} units; check its "
            "encoding, or export it again"
        )


class MalformedUnitError(Exception):
    """What is wrong in a translation unit.

    Args:
        message: str.
        offset: int, byte of the parser's input where it is.
        line: int, of the file.
        nested: bool, whether another unit begins there, which may be a good one.
    """

    def __init__(self, message: str, offset: int, line: int, nested: bool = False) -> None:
        super().__init__(message)
        self.offset, self.line, self.nested = offset, line, nested


class _Parser(defusedxml.expatreader.DefusedExpatParser):
    """A parser that refuses entities wherever they are declared, and reports its position.

    Many good files name the TMX DTD; it is not fetched.
    """

    def __init__(self, encoding):
        super().__init__(forbid_dtd=False, forbid_entities=True, forbid_external=False)
        self.setFeature(xml.sax.handler.feature_external_ges, False)
        self._source.setEncoding(encoding)

    @property
    def offset(self):
        """int: byte of the input where the current event begins."""
        return self._parser.CurrentByteIndex

    @property
    def error_offset(self):
        """int: byte of the input where it is not well-formed."""
        # After `close`, the error is that the input ends too early.
        return getattr(self._parser, "ErrorByteIndex", -1)


class _Units:
    """Iterable of what `read_units` yields.

    After a malformed unit a new parser takes the bytes before the first unit again, and continues after the malformed
    one.
    """

    def __init__(self, stream, handler):
        self.stream, self.handler, self.path = stream, handler, stream.path
        self.decoder: Any = None
        self.encoding: str | None = None
        self.prologue: bytes | None = None
        self.parser: Any = None
        # Bytes that may be needed again, where they begin in the parser's input, and the line ends before them.
        self.buffer, self.start, self.lines = b"", 0, 0

    def __iter__(self):
        first = self._read()
        if not first:
            raise InputError(f"{self.path}: is empty; remove it from --input, or fetch it again")
        self._new_parser()
        yield from self._feed(first)
        while block := self._read():
            yield from self._feed(block)
        try:
            with self._errors():
                self.parser.close()
        except MalformedUnitError as error:
            raise self._not_well_formed(error) from None
        yield from self.handler.take()

    def _read(self):
        """The next bytes, of UTF-16 as UTF-8; "" at the end."""
        block = self.stream.read(chunks.BUFFER_BYTES)
        if self.decoder is None:
            # The declaration still says UTF-16, which the bytes no longer are.
            marked = block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            marked = marked and not block.startswith(codecs.BOM_UTF32_LE)
            wide = "utf-16" if marked else wide_encoding(block)
            if not wide and (remedy := format_remedy(block, self.path)):
                raise InputError(f"{self.path}: is not a TMX file; {remedy}")
            self.decoder = codecs.getincrementaldecoder(wide)() if wide else False
            self.encoding = "utf-8" if wide else None
        if not self.decoder:
            return block
        with parsing(self.path, "UTF-16 throughout", "fetch or export it again"):
            text = self.decoder.decode(block, final=not block)
        return text.encode()

    def _new_parser(self):
        self.handler.parser = self.parser = _Parser(self.encoding)
        self.parser.setContentHandler(self.handler)
        self.handler.setDocumentLocator(self.parser)
        self.handler.leave_unit()

    def _feed(self, data):
        self.buffer += data
        while data is not None:
            try:
                with self._errors():
                    self.parser.feed(data)
                data = None
            except MalformedUnitError as error:
                unit, line = self.handler.unit_offset, self.handler.unit_line
                if unit is None:
                    unit, line = self._unit_of_tag(error)
                self.handler.note_problem(error)
                self._note_prologue()
                end = self._end_of_unit(unit, error)
                yield from self.handler.take()
                yield line, None
                self._restart(end)
                data = self.buffer
        yield from self.handler.take()
        self._note_prologue()
        if self.prologue is not None:
            offset = self.handler.unit_offset
            self._forget(max(0, (self.parser.offset if offset is None else offset) - self.start))
        if len(self.buffer) > MOST_UNIT_BYTES:
            raise InputError(f"{self.path}: line {self.lines + 1}: is longer than any unit; export the file again")

    def _unit_of_tag(self, error):
        """(offset, line) of the unit in whose own tag `<tu ...>` the error is."""
        place = error.offset - self.start
        if not BEGIN_OF_UNIT.match(self.buffer, place):
            place = self.buffer.rfind(b"<", 0, place)
        if place < 0 or not BEGIN_OF_UNIT.match(self.buffer, place):
            raise self._not_well_formed(error) from None
        if self.handler.first_offset is None:
            self.handler.first_offset = self.start + place
        return self.start + place, self.lines + self.buffer.count(b"\n", 0, place) + 1

    def _note_prologue(self):
        if self.prologue is None and self.handler.first_offset is not None:
            self.prologue = self.buffer[: self.handler.first_offset]

    def _end_of_unit(self, unit, error):
        """Index in the buffer after the malformed unit that begins at offset `unit`; reads more input if needed."""
        if error.nested:
            return error.offset - self.start
        # In the next unit's own tag, the error is that unit's. This one is not closed.
        tag = self.buffer.rfind(b"<", unit + 1 - self.start, error.offset - self.start)
        if tag >= 0 and BEGIN_OF_UNIT.match(self.buffer, tag) and not self._in_section(unit, tag):
            return tag
        # The parser reports an error in an end tag at the tag's name.
        place = max(unit + 3, error.offset - 2) - self.start
        if self._in_section(unit, place):
            # What looks like a tag inside these is text.
            place = self._search(END_OF_SECTION, place, error).end()
        found = self._search(END_OF_UNIT, place, error)
        return found.end() if found["end"] else found.start()

    def _in_section(self, unit, place):
        """Whether index `place` of the buffer lies in a CDATA section of the unit at offset `unit`."""
        section = self.buffer.rfind(SECTION, unit - self.start, place + 2 + len(SECTION))
        return section >= 0 and self.buffer.find(b"]]>", section, place) < 0

    def _search(self, pattern, place, error):
        """The first match of `pattern` in the buffer from index `place` on; reads more input if needed."""
        while not (found := pattern.search(self.buffer, place)):
            block = self._read()
            if not block or len(self.buffer) > MOST_UNIT_BYTES:
                raise self._not_well_formed(error) from None
            self.buffer += block
        return found

    def _restart(self, end):
        """Continues at index `end` of the buffer, with a new parser."""
        self._forget(end)
        self._new_parser()
        self.handler.line_shift = 0
        # Before a malformed unit, `_note_prologue` has noted the bytes before the first one.
        prologue = self.prologue or b""
        with self._errors():
            self.parser.feed(prologue)
        self.start = len(prologue)
        self.handler.line_shift = self.lines - prologue.count(b"\n")

    def _forget(self, size):
        self.lines += self.buffer.count(b"\n", 0, size)
        self.buffer, self.start = self.buffer[size:], self.start + size

    @contextlib.contextmanager
    def _errors(self):
        try:
            yield
        except xml.sax.SAXParseException as error:
            message = f"is not well-formed XML ({error.getMessage()})"
            raise MalformedUnitError(message, self.parser.error_offset, self.handler.line) from None
        except defusedxml.common.DefusedXmlException:
            raise InputError(
                f"{self.path}: line {self.handler.line}: declares an XML entity, which no translation memory needs "
                "and attacks use; do not trust it, or remove the declaration"
            ) from None

    def _not_well_formed(self, error):
        return InputError(f"{self.path}: line {error.line}: {error}; fetch or export it again")


class UnitHandler(xml.sax.ContentHandler):
    """Collects translation units.

    Args:
        path: str, for messages.

    Attributes:
        source_language: str, what the header says; "" if nothing.
        problem: str or None, the place of the first malformed unit and what is wrong with it.
        parser: `_Parser` whose events it gets.
        unit_offset: int or None, byte of the parser's input where the unit begins that is not yet complete.
        first_offset: int or None, the same of the first unit.
        line_shift: int, what is to be added to the parser's line numbers.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.root: str | None = None
        self.source_language = ""
        self.units: list[tuple[int, list[tuple[str, str]]]] = []
        self.segments: list[tuple[str, str]] = []
        self.language: str | None = None
        self.text: list[str] | None = None
        self.length = 0
        self.markup = 0
        self.unit_line = 0
        self.unit_offset: int | None = None
        self.first_offset: int | None = None
        self.problem: str | None = None
        self.parser: Any = None
        self.line_shift = 0
        # `ContentHandler` has it, set by the parser.
        self._locator: Any

    @property
    def line(self) -> int:
        """int: where the parser is."""
        return self._locator.getLineNumber() + self.line_shift

    def leave_unit(self) -> None:
        """Discards the incomplete unit."""
        self.unit_offset = self.language = self.text = None
        self.segments, self.markup = [], 0

    def note_problem(self, error: MalformedUnitError) -> None:
        """Keeps what is wrong with a unit, a `MalformedUnitError`, if it is the first."""
        if self.problem is None:
            self.problem = f"line {error.line}: {error}"

    def _malformed(self, message, nested=False):
        return MalformedUnitError(message, self.parser.offset, self.line, nested)

    def take(self) -> list[tuple[int, list[tuple[str, str]]]]:
        """The units completed since the last call."""
        units, self.units = self.units, []
        return units

    def startElement(self, name: str, attributes: Any) -> None:
        if self.root is None:
            self.root = name
            if name != "tmx":
                raise InputError(f"{self.path}: line {self.line}: begins with <{name}>, but a TMX file with <tmx>")
        if name == "header":
            self.source_language = attributes.get("srclang", "")
        elif name == "tu":
            if self.unit_offset is not None:
                raise self._malformed("a unit is not closed before the next <tu>", nested=True)
            self.segments, self.unit_line, self.unit_offset = [], self.line, self.parser.offset
            if self.first_offset is None:
                self.first_offset = self.unit_offset
        elif name == "tuv":
            # `lang` is how TMX 1.1 said it.
            self.language = attributes.get("xml:lang", "") or attributes.get("lang", "")
        elif name == "seg":
            self.text, self.length, self.markup = [], 0, 0
        elif name in MARKUP:
            self.markup += 1

    def endElement(self, name: str) -> None:
        if name == "seg" and self.language is not None:
            text = check_text("".join(self.text or ()), f"{self.path}: line {self.line}")
            self.segments.append((self.language, one_line(text)))
            self.text = None
        elif name == "tuv":
            self.language = None
        elif name == "tu":
            self.units.append((self.unit_line, self.segments))
            self.unit_offset = None
        elif name in MARKUP:
            self.markup -= 1

    def characters(self, content: str) -> None:
        if self.text is None or self.markup:
            return
        self.length += len(content)
        if self.length > chunks.LONGEST_LINE_BYTES:
            raise InputError(f"{self.path}: line {self.line}: <seg> is longer than any sentence; remove it")
        self.text.append(content)

    def skippedEntity(self, name: str) -> None:
        raise self._malformed(f"uses the entity &{name}; that nothing declares")
