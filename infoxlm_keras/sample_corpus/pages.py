"""Reads the paragraphs of one help page."""

from __future__ import annotations

import html.parser
from collections.abc import Mapping
from typing import Any

PARAGRAPH_TAGS = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6"])

# Program text and formulas: the same in every language, or translated only in parts.
CODE_CLASSES = frozenset(["code", "codeintable", "smathcode", "example", "bascode"])

# Replaces an image until the white space around it is decided (U+FFFC OBJECT REPLACEMENT CHARACTER).
IMAGE = "\ufffc"


def read_paragraphs(page: str) -> list[tuple[str, str]]:
    """The paragraphs of a help page that carry an id, in order.

    Args:
        page: str. HTML.

    Returns:
        List of (id, text); text may hold runs of white space and `IMAGE`, and may be empty.
    """
    reader = PageReader()
    reader.feed(page)
    reader.close()
    reader.end_paragraph()
    return reader.paragraphs


class PageReader(html.parser.HTMLParser):
    """Collects paragraphs into `paragraphs`.

    Help pages carry variants of a phrase for systems and applications and show one of them by script:

        <span class="switchinline">
          <span id="MAC..." class="MAC">Command</span><span id="default...">Ctrl</span></span>

    `Switch` chooses the one that most readers see.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[tuple[str, str]] = []
        self.paragraph_id: str | None = None
        self.spans: list[Span] = []  # of the open paragraph, outermost first; the first entry is its own text

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in PARAGRAPH_TAGS:
            self.end_paragraph()
            self.begin_paragraph(dict(attributes))
        elif self.paragraph_id is None:
            return
        elif tag == "span":
            self.spans.append(self.new_span(dict(attributes)))
        elif tag == "br":
            self.handle_data(" ")
        elif tag == "img":
            self.handle_data(IMAGE)

    def handle_endtag(self, tag: str) -> None:
        if tag in PARAGRAPH_TAGS:
            self.end_paragraph()
        elif tag == "span" and len(self.spans) > 1:
            span = self.spans.pop()
            self.spans[-1].add(span, span.text())

    def handle_data(self, data: str) -> None:
        if self.paragraph_id is not None:
            self.spans[-1].add(None, data)

    def begin_paragraph(self, attributes: Mapping[str, str | None]) -> None:
        classes = (attributes.get("class") or "").split()
        if attributes.get("id") and CODE_CLASSES.isdisjoint(classes):
            self.paragraph_id = attributes["id"]
            self.spans = [Span(attributes)]

    def end_paragraph(self) -> None:
        if self.paragraph_id is None:
            return
        while len(self.spans) > 1:
            self.handle_endtag("span")
        self.paragraphs.append((self.paragraph_id, self.spans[0].text()))
        self.paragraph_id = None

    @staticmethod
    def new_span(attributes: Mapping[str, str | None]) -> Span:
        if attributes.get("class") in ("switch", "switchinline"):
            return Switch(attributes)
        return Span(attributes)


class Span:
    """Text, in pieces."""

    def __init__(self, attributes: Mapping[str, str | None]) -> None:
        self.id = attributes.get("id") or ""
        self.kind = attributes.get("class") or ""
        self.pieces: list[Any] = []

    def add(self, span: Span | None, text: str) -> None:
        self.pieces.append(text)

    def text(self) -> str:
        return "".join(self.pieces)


class Switch(Span):
    """Spans of which a reader sees one."""

    def add(self, span: Span | None, text: str) -> None:
        if span is not None:  # what stands between the variants is white space
            self.pieces.append((span, text))

    def text(self) -> str:
        """The default variant; without one the first that is not for macOS alone, or nothing."""
        for span, text in self.pieces:
            if span.id.startswith("default"):
                return text
        for span, text in self.pieces:
            if span.kind != "MAC":
                return text
        return ""
