"""Which columns of a file hold label, texts and language, and the samples of a row."""

import math
import pathlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.labels import MISSING, gold_label
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.text.readers.inputs import plain_name
from infoxlm_keras.text.readers.packed import check_text
from infoxlm_keras.text.sample_files import fold

LABEL_NAMES = ("label", "gold_label")
TEXT_NAMES = (("sentence1", "sentence2"), ("premise", "hypo"), ("premise", "hypothesis"), ("text",), ("sentence",))
LANGUAGE_NAMES = ("language", "lang")
# What stands for a text that is missing: PAWS-X has `NS`; spreadsheets left `#NAME?` in translations of MultiNLI.
PLACEHOLDERS = {*MISSING, "NA", "NS", "#NAME?", "#VALUE!", "#REF!", "#DIV/0!", "#NUM!", "#NULL!"}
# Words of file names that happen to be codes of small languages.
NO_LANGUAGES = set(
    "all aug aux big bin csv dev doc lab low max min mix mrc neg ner new nli old one pos qqp raw run set six src sst "
    "sub tag ten tgt tmp top trn tst tsv two txt val".split()
)
# The two lists of a text in several languages, as `TranslationVariableLanguages` of `datasets` has it.
CODES, TRANSLATIONS = "language", "translation"


def wanted(name: str) -> bool:
    """Whether the column of this (folded) name may hold label, language or text."""
    kinds = {kind for kinds in TEXT_NAMES for kind in kinds}
    named = name in kinds or any(name.startswith(f"{kind}_") for kind in kinds)
    return named or name in LABEL_NAMES or name in LANGUAGE_NAMES


class SampleColumns:
    """The columns of a file, found once from their names.

    Args:
        path: path of the file.
        names: list of str, all its columns.

    Raises:
        InputError: if they hold no label or no text.
    """

    def __init__(self, path: pathlib.Path, names: Sequence[str]) -> None:
        self.path = path
        folded = [fold(name) for name in names]
        self.label = next((name for name in LABEL_NAMES if name in folded), None)
        self.language = next((name for name in LANGUAGE_NAMES if name in folded), None)
        self.texts = _text_columns(path, folded)
        self._file_language: str | None = None
        if self.label is None or not self.texts:
            missing = "a label" if self.label is None else "texts"
            raise InputError(
                f"{path}: no column with {missing} among {', '.join(names)}; known: {', '.join(LABEL_NAMES)}; "
                f"{', '.join('+'.join(pair) for pair in TEXT_NAMES)}, also with an ending such as _sw; a file without "
                "a header needs one"
            )

    def samples(self, place: str, row: Mapping[str, Any]) -> Iterator[tuple[str, str | None, list[str], str | None]]:
        """The samples of a row, one for each language that it holds.

        Args:
            place: str, file and line, for messages.
            row: dict of folded name to value.

        Yields:
            (language, label, texts, reason): str; str or None; list of str; str or None, why it has to be left out.
        """
        value = None if self.label is None else row.get(self.label)
        label = gold_label(value, place)
        for language, names in self.texts.items():
            sides = [_by_language(row.get(name), name, place) for name in names]
            several = [side is not None for side in sides]
            if not any(several):
                language = language or self._language(row, place)
                texts = [row.get(name) for name in names]
                yield language, *_sample(label, value, texts, names, place)
            elif not all(several) or language or self.language:
                raise InputError(f"{place}: {' and '.join(names)} must both hold text, or both text by language")
            else:
                for language in dict.fromkeys(code for side in sides for code in side):
                    texts = [side.get(language) for side in sides]
                    yield language, *_sample(label, value, texts, names, place)

    def _language(self, row, place):
        """The language of a row whose texts do not say it."""
        if self.language is None:
            self._file_language = self._file_language or language_of_file(self.path)
            return self._file_language
        code = row.get(self.language)
        if not isinstance(code, (str, type(None))):
            raise InputError(f"{place}: {self.language} is a {type(code).__name__}; write a code such as de")
        code = (code or "").strip()
        if not code or code in PLACEHOLDERS - {"nan", "NS"}:
            raise InputError(
                f"{place}: {self.language} is {code or 'empty'}; write a code such as de, or remove the row"
            )
        return named_language(check_text(code, place))


def named_language(code: str) -> str:
    """One name for each language, as the records have it; what is no code stays as it is."""
    return language_or_none(code) or code


def _sample(label, value, texts, names, place):
    """(label, texts, reason)."""
    texts = [clean_text(text, name, place) for text, name in zip(texts, names, strict=True)]
    if label is None:
        return None, texts, f"no gold label ({_shown(value)})"
    for text in texts:
        if text in PLACEHOLDERS:
            return label, texts, f"no text ({_shown(text)})"
    return label, texts, None


def clean_text(value: Any, name: str, place: str) -> str:
    """The text in a cell without white space around it; "" for null, NaN and what shows no character.

    Args:
        value: the content of the cell.
        name: str, its column.
        place: str, file and line, for messages.

    Raises:
        InputError: for any other value, and for a text that is not valid Unicode; begins with `place`.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise InputError(f"{place}: {name} is a {type(value).__name__}, not text; write it as text, or remove the row")
    text = check_text(value, f"{place}: {name}").strip()
    # A text of zero-width characters is as empty as one of spaces.
    return text if any(unicodedata.category(character)[0] not in "CZ" for character in text) else ""


def _shown(value):
    return "empty" if value is None or not str(value).strip() else str(value).strip()


def _by_language(value, name, place):
    """{language: value} of a text in several languages, in either form of XNLI's `all_languages`; else None."""
    if not isinstance(value, dict):
        return None
    if set(value) == {CODES, TRANSLATIONS}:
        codes, texts = value[CODES], value[TRANSLATIONS]
        if not isinstance(codes, list) or not isinstance(texts, list) or len(codes) != len(texts):
            raise InputError(f"{place}: {name} needs as many values in {TRANSLATIONS} as in {CODES}")
        pairs = list(zip(codes, texts, strict=True))
    else:
        pairs = list(value.items())
    found = {}
    for code, text in pairs:
        known = language_or_none(code) if isinstance(code, str) else None
        if known is None:
            raise InputError(
                f"{place}: {name} is an object with {code!r}, which is no language; write text, or text by language "
                'such as {"en": ..., "de": ...}'
            )
        if known in found:
            raise InputError(f"{place}: {name} holds {known} twice; remove one of them")
        found[known] = text
    return found


def _text_columns(path, names):
    """dict of language (None where the names do not say) to the names of its columns with texts."""
    found: dict[str | None, tuple[str, ...]] = {}
    for kinds in TEXT_NAMES:
        if all(kind in names for kind in kinds):
            return {None: kinds}
        for name in names:
            code = name.removeprefix(f"{kinds[0]}_")
            if name != code and all(f"{kind}_{code}" in names for kind in kinds):
                known, columns = named_language(code), tuple(f"{kind}_{code}" for kind in kinds)
                first = found.setdefault(known, columns)
                if first != columns and first[0].startswith(f"{kinds[0]}_"):
                    raise InputError(
                        f"{path}: columns {first[0]} and {columns[0]} both hold {known}; remove one of them"
                    )
    return found


def language_of_file(path: pathlib.Path, otherwise: str | None = None) -> str:
    """The language that a file's name (a part between dots) or its folder's name says.

    Args:
        path: path of the file.
        otherwise: str or None, the result if neither says one.

    Raises:
        InputError: if neither says one and `otherwise` is None, or the name says several.
    """
    several = ""
    for parts in (plain_name(path).split(".")[:-1], [path.resolve().parent.name]):
        codes = {part: language_or_none(part) for part in parts if part.lower() not in NO_LANGUAGES}
        found = {code for code in codes.values() if code is not None}
        if len(found) == 1:
            return found.pop()
        if found:
            several = f"; {' and '.join(part for part, code in codes.items() if code)} are codes of languages"
    if otherwise is not None and not several:
        return otherwise
    raise InputError(
        f"{path}: its name does not say the language{several}; name it like train.en.tsv, or add a column "
        f"{LANGUAGE_NAMES[0]}"
    )
