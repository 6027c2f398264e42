"""Labelled texts or pairs of texts of each language, from the files that XNLI, MultiNLI, PAWS-X and their like are.

A file is tab-separated with a header (no quoting, as XNLI's), CSV (`.csv`), JSON (`.jsonl`, `.json`: an object a line,
or one list) or Parquet (`.parquet`). Case does not matter in the names of its columns:

    label      `label` or `gold_label`: a name, a whole number or a truth value
    texts      `sentence1` and `sentence2`, or `premise` and `hypo` or `hypothesis`; or one of `text`, `sentence`
    language   a column `language` or `lang`; else the end of the texts' names (`sentence1_sw`: one file may hold
               several languages); else the texts themselves, where they are objects as XNLI's `all_languages` has them
               ({"en": ..., "de": ...} or {"language": [...], "translation": [...]}); else a part of the file's name
               between dots (`multinli.train.sw.tsv`, `sw.genre.test.tsv`) or its folder's name (`de/test_2k.tsv`)

Left out and counted for each file: rows without a gold label (`-`, -1, null, NaN, empty), and rows where a text is
missing (null, empty, or a placeholder such as PAWS-X's `NS`).
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.sample_columns import SampleColumns, named_language, wanted
from infoxlm_keras.text.sample_files import SampleFile


@dataclasses.dataclass
class LabelledTexts:
    """The samples of one language.

    Attributes:
        language: str.
        texts: list of lists of str, one list for single texts and two for pairs, all of one length.
        labels: list of str, of the same length.
        files: list of str, where they were read.
        reasons: {file: {reason: rows}}, what was left out and why.
        places: {label: str}, file and line of the first sample with this label.
    """

    language: str
    texts: list[list[str]]
    labels: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    reasons: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    places: dict[str, str] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def left_out(self) -> int:
        """int, rows without a gold label or with a missing text."""
        return sum(sum(counts.values()) for counts in self.reasons.values())


def read_labelled_texts(
    paths: Iterable[PathLike], languages: Iterable[str] | None = None, max_samples: int | None = None
) -> list[LabelledTexts]:
    """Reads labelled texts.

    Args:
        paths: sequence of str or path, files as above; those of one language are joined in this order.
        languages: optional collection of str, the only languages to take, under any of their codes.
        max_samples: int or None, maximum number of samples of each language; the first ones are taken.

    Returns:
        list of `LabelledTexts`, sorted by language.

    Raises:
        InputError: for a file that is missing, empty, given twice, in another form, or whose language is not to be
            known; for a row that is broken, naming file and line; for single texts beside pairs; for a language
            without a labelled sample.
    """
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples = {max_samples}: must be at least 1")
    files = [pathlib.Path(path) for path in paths]
    _check_given_once(files)
    languages = None if languages is None else [named_language(code) for code in languages]
    found: dict[str, LabelledTexts] = {}
    for path in files:
        file = SampleFile(path, wanted)
        columns = SampleColumns(path, file.names)
        for place, row in file.rows:
            for name, label, texts, reason in columns.samples(place, row):
                if languages is None or name in languages:
                    part = found.setdefault(name, LabelledTexts(name, [[] for _ in texts]))
                    _check_kind(next(iter(found.values())), texts, place)
                    _add(part, str(path), place, label, texts, reason, max_samples)
    _check_found(found, files, languages)
    return [found[name] for name in sorted(found)]


def _add(part, path, place, label, texts, reason, max_samples):
    if path not in part.files:
        part.files.append(path)
    if reason is not None:
        counts = part.reasons.setdefault(path, {})
        counts[reason] = counts.get(reason, 0) + 1
    elif max_samples is None or len(part) < max_samples:
        part.labels.append(label)
        part.places.setdefault(label, place)
        for column, text in zip(part.texts, texts, strict=True):
            column.append(text)


def _check_given_once(paths):
    for path, times in collections.Counter(path.resolve() for path in paths).items():
        if times > 1:
            raise InputError(f"{path}: is given {times} times; give each file once")


def _check_kind(part, texts, place):
    if len(part.texts) != len(texts):
        kinds = {1: "single texts", 2: "pairs of texts"}
        raise InputError(f"{place}: holds {kinds[len(texts)]}, but {part.files[0]} {kinds[len(part.texts)]}")


def _check_found(found, paths, languages):
    """Raises `InputError` for a language without samples."""
    expected = dict.fromkeys([*(languages or ()), *found])
    empty = sorted(name for name in expected if not len(found.get(name, ())))
    if empty or not found:
        reasons: collections.Counter[str] = collections.Counter()
        for name in empty:
            for counts in found[name].reasons.values() if name in found else ():
                reasons.update(counts)
        told = (
            f"; left out: {', '.join(f'{count:,} x {reason}' for reason, count in reasons.items())}" if reasons else ""
        )
        raise InputError(f"{', '.join(map(str, paths))}: no labelled sample of {', '.join(empty) or 'any'}{told}")
