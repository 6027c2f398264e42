"""Rows -> the files that the record builders and the retrieval evaluation read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoxlm_keras.sample_corpus.alignment import Row


def monolingual_lines(rows: Iterable[Row], language: str) -> list[str]:
    """The text of one language, a paragraph a line, with an empty line between pages.

    Args:
        rows: list of `Row`, those of one page together.
        language: str. A language code, or "en".

    Returns:
        List of str. A paragraph that occurs in several rows is returned once, at its first place.
    """
    lines: list[str] = []
    seen: set[str] = set()
    page = None
    for row in rows:
        text = row.english if language == "en" else row.translations.get(language)
        if text is None or text in seen:
            continue
        seen.add(text)
        if lines and row.page != page:
            lines.append("")
        page = row.page
        lines.append(text)
    return lines


def pair_lines(rows: Iterable[Row], language: str, maximum: int | None = None) -> list[str]:
    """The pairs of one language, `English<TAB>translation` a line.

    Args:
        rows: list of `Row`.
        language: str.
        maximum: int or None. Maximum number of pairs; they are evenly spread over all.
    """
    pairs = [(row.english, row.translations[language]) for row in rows if language in row.translations]
    if maximum is not None and maximum < len(pairs):
        pairs = [pairs[index * len(pairs) // maximum] for index in range(maximum)]
    return ["\t".join(pair) for pair in pairs]
