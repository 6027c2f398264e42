"""Samples that train sentence vectors: queries with their positives, and perhaps negatives.

The two sides may differ in kind: a query is what is searched with, and a positive what is to be found. They are told
apart by their columns, or in pairs of translations by the order of the languages in the file's name (`en-de`: English
is the query). Two kinds of files are read:

    pairs of translations   what `infoxlm build-bitext --input` takes: TSV, TMX, Moses, folders, `en-de=PATH`, ...
    files with columns      tab-separated or CSV with a header, JSON lines, JSON or Parquet

A file has columns if its first row names a query and a positive. Case does not matter in the names:

    query       `query`, `anchor`, `question` or `sentence1`
    positive    `positive`, `pos`, `answer`, `passage` or `sentence2`; of a list each one makes a sample
    negatives   `negative`, `negative_1`, `negative_2`, ..., `negatives` or `neg`: a text or a list each
    language    `language` or `lang`, of a language or a pair; else a part of the file's name between dots
                (`train.de.jsonl`, `train.en-de.jsonl`), or its folder's name; else `all`

Of a folder that holds files with columns these are taken, and no others. `de=PATH` says the language of a file.
"""

import collections
import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import staging
from infoxlm_keras.text.embedding_columns import (
    ENDINGS,
    EmbeddingColumns,
    Sample,
    has_columns,
    pair_or_language,
    wanted,
)
from infoxlm_keras.text.readers import find_bitext, tfds_examples
from infoxlm_keras.text.readers.inputs import litter_reason, parse_input, path_kind, plain_name
from infoxlm_keras.text.readers.names import LANGUAGE, PAIR_PATTERN, find_pair
from infoxlm_keras.text.readers.packed import is_passed_over
from infoxlm_keras.text.readers.reader import Reader
from infoxlm_keras.text.sample_files import SampleFile

NAME_PATTERN = re.compile(f"{PAIR_PATTERN.pattern}|{LANGUAGE}")
NO_NEGATIVE = "no negative, unlike others"
# These are read as files with columns whatever their names.
COLUMNS_ONLY = (".csv", ".json")


@dataclasses.dataclass
class EmbeddingSamples:
    """The samples of one language, or of one pair of languages.

    Attributes:
        language: str: `de`, or `en-de` for queries in English with positives in German; `all` if it is not known.
        files: list of str, where they were read.
        reasons: {file: {reason: samples}}, what was left out and why.
        queries, positives: list of str, item n of one belongs to item n of the other; no item is empty.
        negatives: list of lists of str, of equal length over all samples of a call, perhaps 0.
        negatives_left_out: {file: {reason: negatives}}, which were left out of samples, and why.
        remarks: list of str, lines on columns that are not read, and languages that file names say.
    """

    language: str
    files: list[str] = dataclasses.field(default_factory=list)
    reasons: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    queries: list[str] = dataclasses.field(default_factory=list)
    positives: list[str] = dataclasses.field(default_factory=list)
    negatives: list[list[str]] = dataclasses.field(default_factory=list)
    negatives_left_out: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def left_out(self) -> int:
        """int, samples that were left out."""
        return sum(sum(counts.values()) for counts in self.reasons.values())

    @property
    def notes(self) -> list[str]:
        """list of str: `remarks`, and a line for each file of which negatives were left out."""
        return self.remarks + [
            f"note: {file}: negatives of {self.language} left out: "
            + ", ".join(f"{number:,} {reason}" for reason, number in counts.items())
            for file, counts in self.negatives_left_out.items()
        ]


def read_embedding_samples(
    paths: Iterable[PathLike],
    languages: Iterable[str] | None = None,
    max_samples: int | None = None,
    with_negatives: bool = True,
) -> list[EmbeddingSamples]:
    """Reads queries, positives and negatives.

    All samples get the same number of negatives: the smallest that a sample with negatives has. Samples without any
    are then left out, and counted; if no sample has negatives, all stay.

    Args:
        paths: sequence of str or path, files and folders as above; samples of one language are joined in this order.
        languages: optional collection of str, the only languages or pairs to take, under any of their codes.
        max_samples: int or None, maximum number of samples of each language; the first ones are taken.
        with_negatives: bool; False leaves negatives out, and all samples stay.

    Returns:
        list of `EmbeddingSamples`, sorted by language.

    Raises:
        InputError: for a file that is missing, empty, given twice or in another form; for a row that is broken, or
            lacks its query or positive, naming file and line; for a language without a sample.

    Example:
    ```python
    # {"query": "capital of France", "positive": "Paris is the capital.", "negatives": ["Lyon is large."]}
    (part,) = read_embedding_samples(["train.en.jsonl"])
    part.queries, part.positives, part.negatives
    # ['capital of France'], ['Paris is the capital.'], [['Lyon is large.']]
    ```
    """
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples = {max_samples}: must be at least 1")
    given = [os.fspath(path) for path in paths]
    chosen = None if languages is None else [pair_or_language(code) for code in languages]
    found = _Found(chosen, max_samples, with_negatives)
    with_columns, pairs = _kinds(given)
    for path, language in with_columns:
        found.add_file(path, language)
    for reader in find_bitext(pairs) if pairs else ():
        found.add_pairs(reader)
    found.equal_numbers()
    parts = [found.parts[name] for name in sorted(found.parts)]
    _check_found(parts, given, chosen)
    return parts


class _Found:
    """The samples read so far, by language.

    Args:
        languages: list of str or None, the only languages to take.
        max_samples: int or None, maximum number of samples of each language.
        with_negatives: bool, whether negatives are kept.

    Attributes:
        parts: {language: `EmbeddingSamples`}.
        origins: {language: list of str}, the file of each sample.
    """

    def __init__(self, languages: list[str] | None, max_samples: int | None, with_negatives: bool) -> None:
        self.languages = languages
        self.with_negatives = with_negatives
        self.max_samples = max_samples
        self.parts: dict[str, EmbeddingSamples] = {}
        self.origins: dict[str, list[str]] = {}
        self.remarked: set[pathlib.Path] = set()

    def add_file(self, path: pathlib.Path, language: str | None) -> None:
        """Adds a file with columns, of one language if that is given."""
        file = SampleFile(path, wanted)
        columns = EmbeddingColumns(path, file.names, language)
        for place, row in file.rows:
            part = self._part(columns.language(place, row), str(path))
            if part is None:
                continue
            part.remarks += columns.remarks if path not in self.remarked else []
            self.remarked.add(path)
            for sample, left_out in columns.samples(place, row):
                if self.with_negatives and not self._is_full(part):
                    _count(part.negatives_left_out, str(path), left_out)
                self._add(part, str(path), sample)

    def add_pairs(self, reader: Reader) -> None:
        """Adds pairs of translations."""
        file = reader.files[0]
        part = self._part(reader.name, *reader.files)
        for chunk in () if part is None else reader.chunks():
            pairs = reader.read(chunk)
            dropped = getattr(pairs, "dropped", {})
            _count(part.reasons, file, {key: number for key, number in dropped.items() if not is_passed_over(key)})
            for query, positive in pairs:
                # A line that is blank on both sides ends a document.
                if query or positive:
                    self._add(part, file, Sample(query, positive, []))
            if self._is_full(part):
                break

    def equal_numbers(self) -> None:
        """Gives all samples as many negatives as the fewest that one with negatives has; leaves out those without."""
        least = min((len(texts) for part in self.parts.values() for texts in part.negatives if texts), default=0)
        if least == 0:
            return
        for language, part in self.parts.items():
            kept = [number for number, texts in enumerate(part.negatives) if texts]
            for file, texts in zip(self.origins[language], part.negatives, strict=True):
                if not texts:
                    _count(part.reasons, file, {NO_NEGATIVE: 1})
                elif len(texts) > least:
                    _count(part.negatives_left_out, file, {f"beyond the first {least}": len(texts) - least})
            part.queries = [part.queries[number] for number in kept]
            part.positives = [part.positives[number] for number in kept]
            part.negatives = [part.negatives[number][:least] for number in kept]

    def _part(self, language, *files):
        if self.languages is not None and language not in self.languages:
            return None
        self.origins.setdefault(language, [])
        part = self.parts.setdefault(language, EmbeddingSamples(language))
        part.files += [file for file in files if file not in part.files]
        return part

    def _is_full(self, part):
        return self.max_samples is not None and len(part) >= self.max_samples

    def _add(self, part, file, sample):
        if sample.reason is not None:
            _count(part.reasons, file, {sample.reason: 1})
        elif not self._is_full(part):
            part.queries.append(sample.query)
            part.positives.append(sample.positive)
            part.negatives.append(sample.negatives if self.with_negatives else [])
            self.origins[part.language].append(file)


def _kinds(items):
    """(files with columns as (path, language or None), the other inputs)."""
    with_columns: list[tuple[pathlib.Path, str | None]] = []
    pairs = []
    for item in items:
        item = staging.local_argument(item)
        entry = parse_input(item, NAME_PATTERN)
        path, language = pathlib.Path(entry.address), entry.name and pair_or_language(entry.name)
        kind = None if entry.address.startswith(tfds_examples.PREFIX) else path_kind(path)
        inside = sorted(path.iterdir()) if kind == "folder" and not language else []
        members = [file for file in inside if litter_reason(file.name) is None and has_columns(file)]
        if members:
            with_columns += [(file, None) for file in members]
        elif kind == "file" and _is_read_by_columns(path, language):
            with_columns.append((path, language))
        else:
            pairs.append(item)
    for path, times in collections.Counter(path.resolve() for path, _ in with_columns).items():
        if times > 1:
            raise InputError(f"{path}: is given {times} times; give each file once")
    return with_columns, pairs


def _is_read_by_columns(path, language):
    """Whether a file has columns, or ought to: nothing says that it holds translations."""
    name = plain_name(path).lower()
    if not name.endswith(ENDINGS):
        return False
    says_pair = "-" in (language or "") or find_pair(pathlib.Path(plain_name(path)).stem, path) is not None
    return has_columns(path) or name.endswith(COLUMNS_ONLY) or not says_pair


def _count(counts, file, reasons):
    """Adds {reason: number} to those of `file` in {file: {reason: number}}."""
    for reason, number in reasons.items():
        of_file = counts.setdefault(file, {})
        of_file[reason] = of_file.get(reason, 0) + number


def _check_found(parts, given, languages):
    """Raises `InputError` for a language without samples."""
    found = {part.language: part for part in parts}
    empty = sorted(name for name in dict.fromkeys([*(languages or ()), *found]) if not len(found.get(name, ())))
    if empty or not found:
        reasons: collections.Counter[str] = collections.Counter()
        for name in empty:
            for counts in found[name].reasons.values() if name in found else ():
                reasons.update(counts)
        told = "; left out: " + ", ".join(f"{number:,} with {reason}" for reason, number in reasons.items())
        advice = ""
        if NO_NEGATIVE in reasons:
            advice = (
                "; other samples have negatives, and then all need some: give files of one kind, or find negatives "
                "for the others by infoxlm mine-negatives"
            )
        raise InputError(
            f"{', '.join(given)}: no sample of {', '.join(empty) or 'any'}{told if reasons else ''}{advice}"
        )
