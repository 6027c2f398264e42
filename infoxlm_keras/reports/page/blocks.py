"""The parts of a report, of which the Markdown and the page are two forms."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Text:
    """One paragraph of plain text."""

    text: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text; columns after the first hold numbers where `numeric`.

    Attributes:
        columns: headings.
        rows: lists of str of the length of `columns`.
        title: str, may be empty.
        folded: bool, a page shows the title only until the reader opens it.
        numeric: bool, all columns but the first are set to the right.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    folded: bool = False
    numeric: bool = True


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart for the page; Markdown leaves it out, since a table of the section has the numbers.

    Attributes:
        title: str.
        draw: function without arguments that gives a Vega-Lite specification (dict), as wide as its place on the page.
    """

    title: str
    draw: Callable[[], dict[str, Any]]


Block = Text | Table | Chart


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    title: str
    blocks: Sequence[Block]
