"""Labelled texts or pairs of texts of each language, from the files that XNLI, MultiNLI, PAWS-X and their like are.

A file is tab-separated with a header (no quoting, as XNLI's), or JSON lines (`.jsonl`, `.json`) with the same names:

    label      `label` or `gold_label`; rows labelled `-` have no gold label and are left out
    texts      `sentence1` and `sentence2`, or `premise` and `hypo` or `hypothesis`; or one of `text`, `sentence`
    language   a column `language`; else the end of the texts' names (`sentence1_sw`: one file may hold several
               languages); else a part of the file's name between dots (`multinli.train.sw.tsv`, `sw.genre.test.tsv`)
               or its folder's name (`de/test_2k.tsv`)

Rows with an empty text are left out, too.
"""

import dataclasses
import json
import pathlib

from infoxlm_keras.errors import InputError

LABEL_NAMES = ("label", "gold_label")
TEXT_NAMES = (("sentence1", "sentence2"), ("premise", "hypo"), ("premise", "hypothesis"), ("text",), ("sentence",))
LANGUAGE_NAME = "language"
NO_LABEL = "-"
# MultiNLI's translations, as distributed with XNLI, write one label in another way.
LABEL_ALIASES = {"contradictory": "contradiction"}
# Parts of file names that happen to be codes of languages.
NO_LANGUAGES = ("dev", "tst", "val", "trn")


@dataclasses.dataclass
class LabelledTexts:
    """The samples of one language.

    Attributes:
        language: str.
        texts: list of lists of str, one list for single texts and two for pairs, all of one length.
        labels: list of str, of the same length.
        left_out: int, rows without a gold label or with an empty text.
        files: list of str, where they were read.
    """

    language: str
    texts: list
    labels: list = dataclasses.field(default_factory=list)
    left_out: int = 0
    files: list = dataclasses.field(default_factory=list)

    def __len__(self):
        return len(self.labels)


def read_labelled_texts(paths, languages=None, max_samples=None):
    """Reads labelled texts.

    Args:
        paths: sequence of str or path, files as above; those of one language are joined in this order.
        languages: optional collection of str, the only languages to take.
        max_samples: int or None, take only the first so many of each language.

    Returns:
        list of `LabelledTexts`, sorted by language.

    Raises:
        InputError: for a file that is missing, empty, in another form, or whose language is not to be known; for a row
            that is broken, naming file and line; for single texts beside pairs.
    """
    found = {}
    for path in map(pathlib.Path, paths):
        for line, language, label, texts in _rows(path):
            if languages is not None and language not in languages:
                continue
            part = found.setdefault(language, LabelledTexts(language, [[] for _ in texts]))
            if len(part.texts) != len(texts):
                kinds = {1: "single texts", 2: "pairs of texts"}
                raise InputError(
                    f"{path}: line {line}: holds {kinds[len(texts)]}, but {part.files[0]} {kinds[len(part.texts)]}"
                )
            if str(path) not in part.files:
                part.files.append(str(path))
            if label == NO_LABEL or not all(texts):
                part.left_out += 1
            elif max_samples is None or len(part) < max_samples:
                part.labels.append(LABEL_ALIASES.get(label, label))
                for column, text in zip(part.texts, texts, strict=True):
                    column.append(text)
    empty = sorted(language for language, part in found.items() if not len(part))
    if empty or not found:
        named = f" of {', '.join(empty)}" if empty else "" if languages is None else f" of {', '.join(languages)}"
        raise InputError(f"{', '.join(map(str, paths))}: no labelled sample{named}")
    return [found[language] for language in sorted(found)]


def _rows(path):
    """Yields (line number, language, label, texts) of a file; a row comes once for each language it holds."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    read = _json_rows if path.suffix in (".jsonl", ".json") else _tab_separated_rows
    columns = None
    empty = True
    for line, row in read(path):
        empty = False
        columns = columns or _Columns(path, list(row))
        yield from columns.samples(line, row)
    if empty:
        raise InputError(f"{path}: holds no sample")


class _Columns:
    """Which columns of a file hold label, texts and language, found once from their names."""

    def __init__(self, path, names):
        self.path = path
        self.label = next((name for name in LABEL_NAMES if name in names), None)
        self.texts = _text_columns(names)
        if self.label is None or not self.texts:
            missing = "a label" if self.label is None else "texts"
            raise InputError(
                f"{path}: no column with {missing} among {', '.join(names)}; known: {', '.join(LABEL_NAMES)}; "
                f"{', '.join('+'.join(pair) for pair in TEXT_NAMES)}, also with an ending such as _sw"
            )
        self.language = LANGUAGE_NAME if LANGUAGE_NAME in names else None
        if self.language is None and None in self.texts:
            self.texts[_language_of(path)] = self.texts.pop(None)

    def samples(self, line, row):
        """Yields (line number, language, label, texts)."""
        label = self._value(line, row, self.label)
        for language, names in self.texts.items():
            texts = [str(row.get(name, "")).strip() for name in names]
            if self.language:
                language = _language(self._value(line, row, self.language))
            yield line, language, label, texts

    def _value(self, line, row, name):
        value = str(row.get(name, "")).strip()
        if not value:
            raise InputError(f"{self.path}: line {line}: {name} is empty; fill it, or remove the row")
        return value


def _text_columns(names):
    """dict of language (None where the names do not say) to the names of its columns with texts."""
    found = {}
    for kinds in TEXT_NAMES:
        if all(kind in names for kind in kinds):
            return {None: kinds}
        for name in names:
            language = name.removeprefix(f"{kinds[0]}_")
            if name != language and all(f"{kind}_{language}" in names for kind in kinds):
                found.setdefault(_language(language), tuple(f"{kind}_{language}" for kind in kinds))
    return found


def _language(code):
    """One name for each language, as the records have it; what is no code stays as it is."""
    from data_prep.readers.languages import language_or_none

    return language_or_none(code) or code


def _language_of(path):
    from data_prep.readers.languages import language_or_none

    for parts in (path.name.split(".")[:-1], [path.resolve().parent.name]):
        found = [language_or_none(part) for part in parts if part not in NO_LANGUAGES and language_or_none(part)]
        if len(found) == 1:
            return found[0]
    raise InputError(
        f"{path}: its name does not say the language; name it like train.en.tsv, or add a column {LANGUAGE_NAME}"
    )


def _tab_separated_rows(path):
    names = None
    for number, line in _lines(path):
        cells = line.split("\t")
        if names is None:
            names = cells
        elif len(cells) != len(names):
            raise InputError(
                f"{path}: line {number}: holds {len(cells)} columns, the header {len(names)} ({', '.join(names)})"
            )
        else:
            yield number, dict(zip(names, cells, strict=True))


def _json_rows(path):
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {number}: is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f'{path}: line {number}: must be an object such as {{"label": ..., "text": ...}}')
        yield number, row


def _lines(path):
    """Yields (number, line) of the lines that are not blank."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: line {number}: is not UTF-8: {error.reason}") from None
            if text.strip():
                yield number, text
