"""Held-out translation pairs for evaluation, from the file formats that training reads."""

import collections
import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.bucc import bucc_files, chosen_splits, read_bucc
from infoxlm_keras.files import staging
from infoxlm_keras.text.languages import language_or_none, variety_or_none
from infoxlm_keras.text.readers import find_bitext
from infoxlm_keras.text.readers.inputs import PassedOver

ENGLISH = "en"


@dataclasses.dataclass(frozen=True)
class PairSet:
    """The held-out pairs of two languages.

    The source is the pivot (English) if it is one of the two, else the language whose name sorts first. A direction
    therefore has one meaning, independent of the order in a file's name.

    Attributes:
        source_language, target_language: str, names as in `text/languages.py`, not the file's own codes.
        sources, targets: list of str, item n of one translates item n of the other; no item is empty.
        files: tuple of str, where they were read.
        pivot: str, the language that all others are measured against.
    """

    source_language: str
    target_language: str
    sources: list[str]
    targets: list[str]
    files: tuple[str, ...]
    pivot: str = ENGLISH

    @property
    def language(self) -> str:
        """The key of this pair set in results: the language other than the pivot, or both (`de-fr`)."""
        if is_language(self.source_language, self.pivot):
            return self.target_language
        return f"{self.source_language}-{self.target_language}"


class PairSets(list[PairSet]):
    """List of `PairSet`, sorted by language.

    Attributes:
        passed_over: list of `PassedOver`: files of folders and archives, and pairs that readers left out.
    """

    def __init__(self, pair_sets: Iterable[PairSet] = (), passed_over: Iterable[PassedOver] = ()) -> None:
        super().__init__(sorted(pair_sets, key=lambda pair_set: pair_set.language))
        self.passed_over = list(passed_over)


def is_english(code: str) -> bool:
    """Whether `code` (str), in any convention (`en`, `eng_Latn`, `EN-US`), is English."""
    return is_language(code, ENGLISH)


def is_language(code: str, language: str) -> bool:
    """Whether `code` (str), in any convention, is the language with the name `language` (str)."""
    return code == language or language_or_none(code) == language


def read_pair_sets(
    inputs: Sequence[PathLike],
    max_pairs: int | None = None,
    fields: Sequence[str] | None = None,
    pivot: str = ENGLISH,
) -> PairSets:
    """Reads held-out pairs.

    Args:
        inputs: sequence of str or path: what `infoxlm build-bitext --input` takes, in any of its formats
            (`BITEXT_FORMATS` of the readers) and under any code of the languages: folders, files, `en-de=PATH`;
            and their addresses in a store (`gs://`, `s3://`). Besides, BUCC's folders and gold files (`bucc.py`).
        max_pairs: int or None, read only the first `max_pairs` pairs of each language.
        fields: sequence of two str or None, the fields with source and target in formats that have fields.
        pivot: str, code of the language that is paired with each of the others in folders with a file a language
            (FLORES, NTREX), and that is the source of its pairs.

    Returns:
        `PairSets`.

    Raises:
        InputError: as `infoxlm_keras.text.readers.find_bitext`; for sides with different numbers of lines, a pair with
            one empty side, a language with fewer than two pairs, or one that two inputs hold.
    """
    if max_pairs is not None and max_pairs < 2:
        raise InputError(f"max_pairs = {max_pairs}: must be at least 2, retrieval needs more than one candidate")
    name = language_or_none(pivot)
    if name is None:
        raise InputError(f"pivot = {pivot!r}: is no language; give a code such as en or deu_Latn")
    local = [staging.local_argument(item) for item in inputs]
    passed_over: list[PassedOver] = []
    gold_files = [file for item in local for file in chosen_splits(bucc_files(item), passed_over)]
    found = find_bitext([item for item in local if not bucc_files(item)], fields, pivot=name)
    passed_over += found.passed_over
    pair_sets: dict[str, PairSet] = {}
    sets = (
        _read_pair_set(entry.reader, languages, max_pairs, passed_over, name)
        for entry, languages in zip(found.entries, _languages(found.entries, name), strict=True)
    )
    bucc = (_bucc_pair_set(file, max_pairs, passed_over, name) for file in gold_files)
    for pair_set in itertools.chain(sets, bucc):
        if pair_set.language in pair_sets:
            raise _given_twice(pair_set, pair_sets[pair_set.language])
        pair_sets[pair_set.language] = pair_set
    return PairSets(pair_sets.values(), passed_over)


def parallel_sentences(pair_sets: Sequence[PairSet], count: int | None = None) -> dict[str, list[str]]:
    """Sentences that every language has.

    Args:
        pair_sets: list of `PairSet` with one source language.
        count: int or None, the largest number of sentences.

    Returns:
        {language: list of str}, the source language first; item n of all lists has the same meaning. The lists are
        empty if no source sentence is common to all pair sets.
    """
    translations = [dict(zip(pair_set.sources, pair_set.targets, strict=True)) for pair_set in pair_sets]
    common = [text for text in translations[0] if all(text in known for known in translations)][:count]
    return {
        pair_sets[0].source_language: common,
        **{
            pair_set.target_language: [known[text] for text in common]
            for pair_set, known in zip(pair_sets, translations, strict=True)
        },
    }


def _given_twice(pair_set, other):
    """`InputError` for two `PairSet`s of one language, with the file of each that the other does not have."""
    shared = {*pair_set.files} & {*other.files}
    own = [next((file for file in each.files if file not in shared), None) for each in (pair_set, other)]
    if None in own:
        return InputError(f"{pair_set.files[0]}: holds pairs of {pair_set.language} twice; leave one of them out")
    return InputError(f"{own[0]}: holds pairs of {pair_set.language}, as {own[1]} does; evaluate one at a time")


def _languages(entries, pivot):
    """(source, target) of each `Entry`, in the file's order.

    If several test sets have one language, as NTREX's `fra` and `fra-CA` or Tatoeba's `dtp` and `kzj`, country,
    variant and codes that ISO has merged distinguish them.
    """
    names = [tuple(entry.reader.name.split("-")) for entry in entries]
    often = collections.Counter(frozenset(name) for name in names)
    return [
        tuple(_variety(code, pivot) for code in entry.codes) if entry.codes and often[frozenset(name)] > 1 else name
        for entry, name in zip(entries, names, strict=True)
    ]


def _variety(code, pivot):
    """As `variety_or_none`, but every variety of the pivot is the pivot, since only the other language is measured."""
    return pivot if is_language(code, pivot) else variety_or_none(code)


def _read_pair_set(
    reader: Any, languages: Sequence[str], max_pairs: int | None, passed_over: list[PassedOver], pivot: str
) -> PairSet:
    pairs: list[tuple[str, str]] = []
    left_out: collections.Counter[str] = collections.Counter()
    for chunk in reader.chunks():
        texts = reader.read(chunk)
        left_out.update(getattr(texts, "dropped", {}))
        for number, pair in enumerate(texts, start=chunk.first_line):
            if all(pair):
                pairs.append(pair)
            elif any(pair):
                path = reader.files[min(pair.index(""), len(reader.files) - 1)]
                raise InputError(f"{path}: line {number}: is empty on one side; translate it, or remove the pair")
    if len(pairs) < 2:
        raise InputError(
            f"{reader.files[0]}: holds {len(pairs)} pairs, but retrieval needs at least two to choose from"
        )
    for reason, number in sorted(left_out.items()):
        passed_over.append(PassedOver(reader.files[0], f"{number:,} pairs of {reader.name} ({reason})"))
    return _pair_set(languages, pairs[:max_pairs], reader.files, pivot)


def _bucc_pair_set(gold, max_pairs, passed_over, pivot):
    pairs, languages, files, left_out = read_bucc(gold)
    passed_over += left_out
    return _pair_set(languages, pairs[:max_pairs], files, pivot)


def _pair_set(languages, pairs, files, pivot):
    """`PairSet` with the pivot first, else the language whose name sorts first."""
    sides = [list(side) for side in zip(*pairs, strict=True)]
    is_pivot = [is_language(language, pivot) for language in languages]
    if is_pivot[1] > is_pivot[0] or is_pivot[0] == is_pivot[1] and languages[1] < languages[0]:
        languages, sides = languages[::-1], sides[::-1]
    return PairSet(languages[0], languages[1], sides[0], sides[1], tuple(files), pivot)
