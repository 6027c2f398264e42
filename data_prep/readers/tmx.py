"""`.tmx` (also compressed): translation memories, streamed; one file may hold many languages."""

import dataclasses
import xml.sax

import defusedxml.common
import defusedxml.expatreader

from data_prep.readers import chunks
from data_prep.readers.languages import language_among, language_name, language_or_none
from data_prep.readers.packed import LeftOut, check_text, one_line, packed_chunks, unpack
from infoxlm_keras.errors import InputError

# Elements of a segment whose content is markup of the document it was taken from, not text.
MARKUP = {"bpt", "ept", "it", "ph", "ut"}


@dataclasses.dataclass(frozen=True)
class TmxPairs:
    """Pairs of two of the languages in one file; the interface is described in `data_prep.readers`.

    A unit that lacks one of the two languages is no pair, and counted as `other_languages`; of several variants in one
    language the first counts. Inline markup is taken out.
    """

    name: str
    files: tuple[str]

    def chunks(self):
        """Yields the file's `Chunk`s."""
        languages = self.name.split("-")
        with chunks.LineStream(self.files[0]) as stream:
            yield from packed_chunks(self._pairs(stream, languages), lambda: stream.position)

    def read(self, chunk):
        """`Texts` of (source, target)."""
        return unpack(chunk)

    def _pairs(self, stream, languages):
        known, found = {}, False
        for line, segments in read_units(stream):
            sides = {}
            for code, text in segments:
                if code not in known:
                    known[code] = language_among(code, languages)
                sides.setdefault(known[code], text)
            if all(language in sides for language in languages):
                found = True
                yield line, tuple(sides[language] for language in languages)
            else:
                yield line, LeftOut("other_languages")
        if not found:
            held = ", ".join(sorted(known)) or "none"
            raise InputError(
                f"{self.files[0]}: holds no pair of {' and '.join(languages)}; the languages in it are: {held}"
            )


def find_pairs(path):
    """Names of the pairs in the TMX file `path`: list of str, the file's source language with each other one.

    Reads the whole file.

    Raises:
        InputError: for an unknown language code, for less than two languages, and as `read_units`.
    """
    languages, declared = {}, None
    with chunks.LineStream(path) as stream:
        handler = UnitHandler(path)
        for line, segments in read_units(stream, handler):
            for code, _ in segments:
                if code not in languages:
                    languages[code] = language_name(code, f"{path}: line {line}")
        declared = language_or_none(handler.source_language)
    names = list(dict.fromkeys(languages.values()))
    if len(names) < 2:
        raise InputError(f"{path}: holds {len(names)} language(s) ({', '.join(names) or 'none'}), no pairs")
    source = declared if declared in names else names[0]
    return [f"{source}-{target}" for target in names if target != source]


def read_units(stream, handler=None):
    """Yields (line, [(language code, text), ...]) for each translation unit.

    Args:
        stream: `LineStream`, open.
        handler: `UnitHandler`, or None for a new one.

    Raises:
        InputError: for XML that is not well formed, is no TMX, or declares entities (whose expansion can fill any
            memory, and which can name files); names the line.
    """
    path = stream.path
    handler = handler or UnitHandler(path)
    # Many good files name the TMX DTD; it is not fetched. Entities are refused wherever they are declared.
    parser = defusedxml.expatreader.create_parser(forbid_dtd=False, forbid_entities=True, forbid_external=False)
    parser.setFeature(xml.sax.handler.feature_external_ges, False)
    parser.setContentHandler(handler)
    handler.setDocumentLocator(parser)
    try:
        while block := stream.read(chunks.BUFFER_BYTES):
            parser.feed(block)
            yield from handler.take()
        if not handler.root:
            raise InputError(f"{path}: is empty; remove it from --input, or fetch it again")
        parser.close()
    except xml.sax.SAXParseException as error:
        raise InputError(
            f"{path}: line {error.getLineNumber()}: is not well-formed XML ({error.getMessage()}); fetch or export it "
            "again"
        ) from None
    except defusedxml.common.DefusedXmlException:
        raise InputError(
            f"{path}: line {handler.line}: declares an XML entity, which no translation memory needs and attacks use; "
            "do not trust it, or remove the declaration"
        ) from None
    yield from handler.take()


class UnitHandler(xml.sax.ContentHandler):
    """Collects translation units; `source_language` is what the header says ("" if nothing).

    Args:
        path: str, for messages.
    """

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.root = None
        self.source_language = ""
        self.units = []
        self.segments = []
        self.language = None
        self.text = None
        self.length = 0
        self.markup = 0
        self.unit_line = 0

    @property
    def line(self):
        """int: where the parser is."""
        return self._locator.getLineNumber()

    def take(self):
        """The units completed since the last call."""
        units, self.units = self.units, []
        return units

    def startElement(self, name, attributes):
        if self.root is None:
            self.root = name
            if name != "tmx":
                raise InputError(f"{self.path}: line {self.line}: begins with <{name}>, but a TMX file with <tmx>")
        if name == "header":
            self.source_language = attributes.get("srclang", "")
        elif name == "tu":
            self.segments, self.unit_line = [], self.line
        elif name == "tuv":
            # `lang` is how TMX 1.1 said it.
            self.language = attributes.get("xml:lang") or attributes.get("lang")
            if not self.language:
                raise InputError(f"{self.path}: line {self.line}: <tuv> has no xml:lang; export the file again")
        elif name == "seg":
            self.text, self.length, self.markup = [], 0, 0
        elif name in MARKUP:
            self.markup += 1

    def endElement(self, name):
        if name == "seg" and self.language:
            text = check_text("".join(self.text), f"{self.path}: line {self.line}")
            self.segments.append((self.language, one_line(text)))
            self.text = None
        elif name == "tuv":
            self.language = None
        elif name == "tu":
            self.units.append((self.unit_line, self.segments))
        elif name in MARKUP:
            self.markup -= 1

    def characters(self, content):
        if self.text is None or self.markup:
            return
        self.length += len(content)
        if self.length > chunks.LONGEST_LINE_BYTES:
            raise InputError(f"{self.path}: line {self.line}: <seg> is longer than any sentence; remove it")
        self.text.append(content)

    def skippedEntity(self, name):
        raise InputError(f"{self.path}: line {self.line}: uses the entity &{name}; that nothing declares; remove it")
