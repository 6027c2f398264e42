"""Which columns of a file hold queries, positives and negatives, and the samples of a row."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.equal_texts import folded_text
from infoxlm_keras.text.languages import language_or_none, pair_name
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines
from infoxlm_keras.text.readers.inputs import path_kind, plain_name
from infoxlm_keras.text.readers.names import split_pair
from infoxlm_keras.text.sample_columns import (
    LANGUAGE_NAMES,
    NO_LANGUAGES,
    clean_text,
    language_of_file,
    named_language,
)
from infoxlm_keras.text.sample_files import fold, parquet_names

QUERY_NAMES = ("query", "anchor", "question", "sentence1")
POSITIVE_NAMES = ("positive", "pos", "answer", "passage", "sentence2")
NEGATIVE_NAMES = ("negative", "negatives", "neg")
NUMBERED_NEGATIVE = re.compile(r"negative_\d+")
# Cells of these columns may hold a list; in CSV and tab-separated files it is written as JSON.
LIST_NAMES = ("pos", "negatives", "neg")
# Files with one of these columns have rows that are no pairs of query and positive.
JUDGEMENTS = ("label", "gold_label", "score", "similarity_score")
ANY_LANGUAGE = "all"
EMPTY_QUERY, EMPTY_POSITIVE = "an empty query", "an empty positive"
EMPTY_NEGATIVE, EQUAL_NEGATIVE, REPEATED_NEGATIVE = "empty", "equal to a positive", "given twice"
EQUAL_QUERY = "equal to the query"
ENDINGS = (".tsv", ".csv", ".jsonl", ".json", ".parquet")


@dataclasses.dataclass(frozen=True)
class Sample:
    """A query with one positive, and the row's negatives.

    Attributes:
        query, positive: str.
        negatives: list of str, none empty or equal to a positive of the row.
    """

    query: str
    positive: str
    negatives: list[str]

    @property
    def reason(self) -> str | None:
        """str or None: why the sample has to be left out."""
        return EMPTY_QUERY if not self.query else None if self.positive else EMPTY_POSITIVE


def wanted(name: str) -> bool:
    """Whether the column of this (folded) name may hold a query, a positive, negatives or the language."""
    return name in (*QUERY_NAMES, *POSITIVE_NAMES, *LANGUAGE_NAMES) or is_negative(name)


def is_negative(name: str) -> bool:
    """Whether the column of this (folded) name holds negatives."""
    return name in NEGATIVE_NAMES or NUMBERED_NEGATIVE.fullmatch(name) is not None


class EmbeddingColumns:
    """The columns of a file, found once from their names.

    Args:
        path: path of the file.
        names: list of str, all its columns.
        language: str or None, the language of all rows; None: of a column, else of the file's name, else `all`.

    Attributes:
        unused: list of str, columns that are not read.

    Raises:
        InputError: if they hold no query or no positive; if a column judges the rows (`label`, `score`).
    """

    def __init__(self, path: pathlib.Path, names: Sequence[str], language: str | None = None) -> None:
        folded = [fold(name) for name in names]
        query, positive = (_first(known, folded) for known in (QUERY_NAMES, POSITIVE_NAMES))
        if query is None or positive is None:
            raise InputError(
                f"{path}: no column with a {'query' if query is None else 'positive'} among {', '.join(names)}"
                f"{_separator_hint(path, names)}; known: {', '.join(QUERY_NAMES)}; {', '.join(POSITIVE_NAMES)}; "
                "pairs of translations have their languages in the file's name, as in NAME.en-de.tsv"
            )
        judgement = _first(JUDGEMENTS, folded)
        if judgement is not None:
            raise InputError(
                f"{path}: has a column {judgement}, so its rows are not all pairs that belong together; keep those "
                "that do, without this column"
            )
        self.query, self.positive = query, positive
        self.negatives = [name for name in folded if is_negative(name)]
        # What is no text in JSON and Parquet is none here either.
        self._has_cells = not plain_name(path).lower().endswith((".jsonl", ".json", ".parquet"))
        self.unused = [name for name in names if not wanted(fold(name))]
        self.language_column = None if language else _first(LANGUAGE_NAMES, folded)
        self._language = language
        self.path = path

    def language(self, place: str, row: Mapping[str, Any]) -> str:
        """The language of a row, or the pair of languages.

        Raises:
            InputError: for a language that is missing or is no text; begins with `place`.
        """
        if self.language_column is None:
            self._language = self._language or pair_or_language_of_file(self.path)
            return self._language
        code = clean_text(row.get(self.language_column), self.language_column, place)
        if not code:
            raise InputError(f"{place}: {self.language_column} is empty; write a code such as de, or remove the row")
        return pair_or_language(code)

    @property
    def remarks(self) -> list[str]:
        """list of str: lines on what the file's form makes of it, which its user may not have meant."""
        found = []
        if self.unused:
            found.append(f"note: {self.path}: columns that are not read: {', '.join(self.unused)}")
        parts = plain_name(self.path).split(".")
        if self.language_column is None and len(parts) == 2 and self._language == language_or_none(parts[0]):
            found.append(
                f"note: {self.path}: is read as {self._language}, by its name; LANG=PATH says another language"
            )
        return found

    def samples(self, place: str, row: Mapping[str, Any]) -> Iterator[tuple[Sample, dict[str, int]]]:
        """The samples of a row, one for each positive.

        Args:
            place: str, file and line, for messages.
            row: dict of folded name to value.

        Yields:
            (sample, negatives left out): `Sample`; dict of reason to int, which is empty after the first sample.

        Raises:
            InputError: for a row without query or positive, or a value that is no text; begins with `place`.
        """
        for name in (self.query, self.positive):
            if name not in row:
                raise InputError(f"{place}: has no column {name}, only {', '.join(row) or 'others'}; add it")
        query = clean_text(row[self.query], self.query, place)
        positives = self._texts(row[self.positive], self.positive, place)
        given = [text for name in self.negatives if name in row for text in self._texts(row[name], name, place)]
        negatives, left_out = _usable(given, query, positives)
        for positive in positives or [""]:
            yield Sample(query, positive, negatives), left_out
            left_out = {}

    def _texts(self, value, name, place):
        return _texts(_list_in_a_cell(value) if self._has_cells and name in LIST_NAMES else value, name, place)


def has_columns(path: pathlib.Path) -> bool:
    """Whether the first row of a file names columns with query and positive; False for files of other formats."""
    name = plain_name(path).lower()
    if not name.endswith(ENDINGS) or path_kind(path) != "file":
        return False
    if name.endswith(".parquet"):
        names = parquet_names(path)
    else:
        line = _first_line(path)
        if name.endswith(".json") and line.lstrip().startswith("["):
            return True
        if name.endswith((".jsonl", ".json")):
            names = _json_names(line)
        else:
            names = [cell.strip('" ') for cell in line.split("," if name.endswith(".csv") else "\t")]
    folded = [fold(name) for name in names]
    return all(_first(known, folded) is not None for known in (QUERY_NAMES, POSITIVE_NAMES))


def pair_or_language(code: str) -> str:
    """One name for each language and each pair of languages (`deu-eng` is `de-en`); what is no code stays as it is."""
    pair = split_pair(code, code) if "-" in code else None
    return pair_name(*pair, code) if pair and all(map(language_or_none, pair)) else named_language(code)


def pair_or_language_of_file(path: pathlib.Path) -> str:
    """The pair or the language that a file's name says in a part between dots, or its folder's name; else `all`.

    Raises:
        InputError: if the name says several languages.
    """
    for part in plain_name(path).split(".")[:-1]:
        pair = split_pair(part, path)
        if pair and all(code.lower() not in NO_LANGUAGES and language_or_none(code) for code in pair):
            return pair_name(*pair, path)
    return language_of_file(path, otherwise=ANY_LANGUAGE)


def _separator_hint(path, names):
    """Words on cells that something else separates than the file's ending says, or quotes; else none."""
    if any(name.startswith('"') and name.endswith('"') for name in names):
        return " (quotes do not enclose cells here: name the file .csv if they do)"
    if len(names) > 1:
        return ""
    found = [mark for mark in (";", ",", "\t", "|") if mark in names[0]]
    if not found:
        return ""
    expected = (
        "commas separate the cells of .csv" if plain_name(path).lower().endswith(".csv") else "tabs separate cells"
    )
    return f" (one cell that holds {found[0]!r}; {expected})"


def _list_in_a_cell(value):
    """The list that a cell of CSV or tab-separated text holds as JSON; any other text as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith("["):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list) and all(isinstance(text, str) for text in found) else value


def _first(known, names):
    return next((name for name in known if name in names), None)


def _first_line(path):
    """The first line of a file that is not blank, or an empty one."""
    number = 1
    with LineStream(str(path)) as stream:
        while lines := stream.read_lines(1):
            (line,) = decode_lines(lines[0], str(path), number)
            if line.strip():
                return line
            number += 1
    return ""


def _json_names(line):
    """The keys of the object in a line; none if it holds no object: reading the file says what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return []
    return list(row) if isinstance(row, dict) else []


def _texts(value, name, place):
    """The texts of a cell: a text, or a list of texts."""
    values = value if isinstance(value, list) else [value]
    return [clean_text(text, name, place) for text in values]


def _usable(negatives, query, positives):
    """(those negatives that can be used, {reason: how many cannot})."""
    right = {folded_text(text) for text in positives}
    kept: dict[str, str] = {}
    left_out: dict[str, int] = {}
    for text in negatives:
        if not text:
            reason = EMPTY_NEGATIVE
        elif folded_text(text) in right:
            reason = EQUAL_NEGATIVE
        elif folded_text(text) == folded_text(query):
            reason = EQUAL_QUERY
        elif folded_text(text) in kept:
            reason = REPEATED_NEGATIVE
        else:
            kept[folded_text(text)] = text
            continue
        left_out[reason] = left_out.get(reason, 0) + 1
    return list(kept.values()), left_out
