"""Aligns the paragraphs of all languages in rows: one paragraph in English, with its translations."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import TypeAlias

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.sample_corpus.packages import read_pages
from infoxlm_keras.sample_corpus.pages import read_paragraphs
from infoxlm_keras.sample_corpus.paragraph_faults import (
    fault_of_paragraph,
    fault_of_translation,
    length_outliers,
    normalise_text,
)

# (page, id): identifies a paragraph in every language.
Key: TypeAlias = tuple[str, str]


@dataclasses.dataclass
class Row:
    """One paragraph.

    Attributes:
        page: str. The help page it stands on, for example `text/shared/00/00000005.html`.
        english: str.
        translations: dict, language code -> str. Only languages whose translation is used.
    """

    page: str
    english: str
    translations: dict[str, str]


def read_package(path: PathLike) -> dict[Key, str]:
    """The normalised text of every paragraph of a help package: {(page, id): str}, in page order.

    An id that occurs twice on a page (pages embed parts of others) is ambiguous, and is left out.
    """
    paragraphs = {}
    for page, html in sorted(read_pages(path)):
        on_page = read_paragraphs(html)
        count = collections.Counter(paragraph_id for paragraph_id, _ in on_page)
        for paragraph_id, text in on_page:
            if count[paragraph_id] == 1:
                paragraphs[page, paragraph_id] = normalise_text(text)
    return paragraphs


def read_english(path: PathLike) -> tuple[dict[Key, str], collections.Counter[str]]:
    """The usable paragraphs of the English package, and a `Counter` of why others were dropped."""
    kept, dropped = {}, collections.Counter[str]()
    for key, text in read_package(path).items():
        fault = fault_of_paragraph(text)
        if fault is None:
            kept[key] = text
        else:
            dropped[fault] += 1
    return kept, dropped


def read_translations(
    path: PathLike, language: str, english: Mapping[Key, str]
) -> tuple[dict[Key, str], collections.Counter[str]]:
    """The usable translations in one package.

    Args:
        path: str or path of the package.
        language: str. Its language code.
        english: dict, (page, id) -> str, from `read_english`.

    Returns:
        ({(page, id): str}, a `Counter` of why other translations of these paragraphs were dropped).

    Raises:
        InputError: if the package has no pages.
    """
    paragraphs = read_package(path)
    if not paragraphs:
        raise InputError(f"{path}: has no pages of its own; leave {language} out of --languages")
    kept, dropped = {}, collections.Counter[str]()
    for key, text in english.items():
        fault = fault_of_translation(text, paragraphs.get(key, ""), language)
        if fault is None:
            kept[key] = paragraphs[key]
        else:
            dropped[fault] += 1
    pairs = [(english[key], text) for key, text in kept.items()]
    for key, outlier in zip(list(kept), length_outliers(pairs), strict=True):
        if outlier:
            del kept[key]
            dropped["length"] += 1
    return kept, dropped


def align(english: Mapping[Key, str], translations: Mapping[str, Mapping[Key, str]]) -> list[Row]:
    """Rows in the order of the English pages, each pair of texts once.

    Args:
        english: dict, (page, id) -> str.
        translations: dict, language code -> {(page, id): str}.

    Returns:
        List of `Row`. Of a pair equal on both sides the first is kept; a paragraph that is left
        without any translation has no row.
    """
    rows = []
    seen: dict[str, set[tuple[str, str]]] = {language: set() for language in translations}
    for (page, paragraph_id), text in english.items():
        row = Row(page, text, {})
        for language, paragraphs in translations.items():
            translation = paragraphs.get((page, paragraph_id))
            if translation is not None and (text, translation) not in seen[language]:
                seen[language].add((text, translation))
                row.translations[language] = translation
        if row.translations:
            rows.append(row)
    return rows
