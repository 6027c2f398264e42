"""Splits rows into training and held-out ones that share no sentence in any language."""

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence

from infoxlm_keras.errors import InputError
from infoxlm_keras.sample_corpus.alignment import Row
from infoxlm_keras.sample_corpus.paragraph_faults import comparison_form

MINIMUM_HELDOUT_WORDS = 4
MAXIMUM_HELDOUT_WORDS = 40


def split_rows(rows: Sequence[Row], languages: Sequence[str], heldout: int) -> tuple[list[Row], list[Row]]:
    """Chooses held-out rows, and removes their sentences from the others.

    A held-out row has a translation in every language, and no other English paragraph has the same
    one. Sentences are compared in `comparison_form`: no two held-out rows are equal in any
    language, and no held-out text is, or is part of, a training text of its language. Rows are
    taken in the order of a hash of their English, so a new version of the help changes few of them.

    Args:
        rows: list of `Row`.
        languages: list of language codes.
        heldout: int. How many rows to choose.

    Returns:
        (training rows, held-out rows), both in the order of `rows`.

    Raises:
        InputError: if fewer than `heldout` rows qualify.
    """
    forms = [row_forms(row) for row in rows]
    chosen = choose_rows(rows, forms, languages, heldout)
    taken = {language: {forms[index][language] for index in chosen} for language in ("en", *languages)}
    training = []
    for row, form in zip(rows, forms, strict=True):
        if form["en"] in taken["en"]:
            continue
        translations = {
            language: text
            for language, text in row.translations.items()
            # A text that was left untranslated is English, so it is compared with the held-out English too.
            if form[language] not in taken[language] and form[language] not in taken["en"]
        }
        if translations:
            training.append(Row(row.page, row.english, translations))
    return training, [rows[index] for index in chosen]


def row_forms(row: Row) -> dict[str, str]:
    """The comparison form of each text of a row: {language code: str}, English included."""
    texts = {"en": row.english, **row.translations}
    return {language: comparison_form(text) for language, text in texts.items()}


def choose_rows(
    rows: Sequence[Row], forms: Sequence[Mapping[str, str]], languages: Sequence[str], heldout: int
) -> list[int]:
    """Indices of the held-out rows in ascending order; see `split_rows`."""
    everything = {language: distinct_forms(forms, language) for language in ("en", *languages)}
    meanings = {language: count_meanings(forms, language) for language in languages}
    taken: set[str] = set()
    chosen: list[int] = []
    for index in hash_order(forms):
        if len(chosen) == heldout:
            break
        form = forms[index]
        if form["en"] in taken or not is_candidate(rows[index], form, languages):
            continue
        if any(meanings[language][form[language]] > 1 for language in languages):
            continue
        if any(is_part_of_another(form[language], everything[language]) for language in everything):
            continue
        taken.add(form["en"])
        chosen.append(index)
    if len(chosen) < heldout:
        counts = {language: sum(language in row.translations for row in rows) for language in languages}
        fewest = min(counts, key=counts.__getitem__)
        raise InputError(
            f"--heldout {heldout}: only {len(chosen)} sentences qualify and are in all of {' '.join(languages)}; "
            f"ask for fewer, or leave out {fewest}, which has {counts[fewest]} paragraphs"
        )
    return sorted(chosen)


def hash_order(forms: Sequence[Mapping[str, str]]) -> list[int]:
    """The indices of `forms`, ordered by SHA-256 of the English, and then by index."""
    digests = [hashlib.sha256(form["en"].encode()).digest() for form in forms]
    return sorted(range(len(forms)), key=lambda index: (digests[index], index))


def is_candidate(row: Row, form: Mapping[str, str], languages: Sequence[str]) -> bool:
    """Whether a row has every language, with words in each, and an English length fit for retrieval."""
    lengths = len(row.english.split()), len(form["en"].split())
    if not all(MINIMUM_HELDOUT_WORDS <= length <= MAXIMUM_HELDOUT_WORDS for length in lengths):
        return False
    return all(form.get(language) for language in languages)


def count_meanings(forms: Iterable[Mapping[str, str]], language: str) -> collections.Counter[str]:
    """How many different English forms each form of `language` translates: a `Counter`."""
    pairs = {(form[language], form["en"]) for form in forms if language in form}
    return collections.Counter(translation for translation, _ in pairs)


def distinct_forms(forms: Iterable[Mapping[str, str]], language: str) -> str:
    """The distinct comparison forms of one language, a line each, to be searched as one string."""
    return "\n" + "\n".join(dict.fromkeys(form[language] for form in forms if language in form)) + "\n"


def is_part_of_another(form: str, everything: str) -> bool:
    """Whether `form` stands inside a longer line of `everything` (from `distinct_forms`)."""
    return everything.count(form) > everything.count(f"\n{form}\n")
