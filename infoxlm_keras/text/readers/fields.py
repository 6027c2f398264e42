"""Text in records with named fields (JSON objects, rows of Parquet files, TFDS examples)."""

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_among
from infoxlm_keras.text.readers.language_keys import find_language_keys
from infoxlm_keras.text.readers.packed import OTHER_LANGUAGES, LeftOut, check_text, one_line

DOCUMENT_FIELD = "text"
# Fields in which records hold translations; the second is that of the TED datasets.
PAIRS_FIELDS = ("translation", "translations")
# The fields of `TranslationVariableLanguages` in `datasets` and TFDS: two lists of equal length.
LANGUAGES_LIST, TEXTS_LIST = "language", "translation"
EMPTY = "empty"


@dataclasses.dataclass(frozen=True)
class DocumentField:
    """Finds a document in a record.

    Args:
        field: str, the field's name; `a.b` is field b of the record in field a.
    """

    field: str = DOCUMENT_FIELD

    @property
    def part(self) -> Hashable:
        """Hashable: what of a record is read, see `reader.Text`; the same field whatever the language."""
        return ()

    def columns(self, names: Mapping[str, Any], place: str) -> tuple[str, ...]:
        """tuple of str: the fields to read, as `a.b`, from records with the top-level fields `names`.

        Args:
            names: dict of field name to the same dict of its nested fields, or None.
            place: str, for messages.

        Raises:
            InputError: if a field is missing; begins with `place`.
        """
        return (_checked(names, self.field, place),)

    def __call__(self, record: Any, place: str) -> list[str] | LeftOut:
        """List of str: the lines of the document, and "" where it ends; a `LeftOut` for null and white space.

        Raises:
            InputError: if the field is missing or is no text; begins with `place`.
        """
        text = _text(_find(record, self.field, place), self.field, place)
        lines = [line for line in map(str.strip, text.split("\n")) if line]
        return [*lines, ""] if lines else LeftOut(EMPTY)


@dataclasses.dataclass(frozen=True)
class PairFields:
    """Finds a pair of sentences in a record.

    Without `fields`, the pair is in the first of these that a record has:

        {"translation": {"en": ..., "de": ...}}        or in `translations`; every key is a language
        {"translation": {"language": ["en", "de"], "translation": [..., ...]}}
                                                       or in `translations`, at the top, or as a list of such records
                                                       (`TranslationVariableLanguages`); every source with every target
        {"en": ..., "de": ...}                         among other fields, see `language_keys`

    Args:
        languages: (str, str), names of the two languages (see `infoxlm_keras.text.languages`).
        fields: (str, str) of their fields; or None.
    """

    languages: tuple[str, str]
    fields: tuple[str, str] | None = None

    @property
    def part(self) -> Hashable:
        """Hashable: what of a record is read, see `reader.Text`: languages in either direction, or the same fields."""
        return () if self.fields else frozenset(self.languages)

    def columns(self, names: Mapping[str, Any], place: str) -> tuple[str, ...]:
        """As `DocumentField.columns`."""
        if self.fields:
            return tuple(dict.fromkeys(_checked(names, field, place) for field in self.fields))
        if LANGUAGES_LIST in names and TEXTS_LIST in names and not names[TEXTS_LIST]:
            return LANGUAGES_LIST, TEXTS_LIST
        for field in PAIRS_FIELDS:
            if field in names:
                inside = names[field]
                if not inside or {LANGUAGES_LIST, TEXTS_LIST} <= set(inside):
                    return (field,)
                return tuple(f"{field}.{key}" for key in self._keys(inside, True, place))
        return self._keys(names, False, place)

    def __call__(self, record: Any, place: str) -> tuple[str, str] | list[tuple[str, str]] | LeftOut:
        """(source, target), str; line breaks in them have become spaces. Or a list of such, or a `LeftOut`.

        Raises:
            InputError: if a field is missing or is no text, or no field is surely a language's; begins with `place`.
        """
        if self.fields:
            return self._pair([(_find(record, field, place), field) for field in self.fields], place)
        translations, only_languages = _translations(record, place)
        if isinstance(translations, LeftOut):
            return translations
        if isinstance(translations, list):
            return self._by_lists(translations, place)
        if not isinstance(translations, dict):
            raise InputError(f"{place}: has no named fields, so none for {self.languages[0]}; name them with --fields")
        keys = self._keys(translations, only_languages, place)
        return self._pair([(translations[key], key) for key in keys], place)

    def _keys(self, names, only_languages, place):
        keys, problem = find_language_keys(tuple(names), self.languages, only_languages)
        if problem:
            raise InputError(f"{place}: {problem}")
        return keys

    def _by_lists(self, translations, place):
        """Every text in the first language with every one in the second; there may be several of each."""
        sides: dict[str, list[tuple[Any, str]]] = {language: [] for language in self.languages}
        for code, text in translations:
            language = language_among(_text(code, LANGUAGES_LIST, place), self.languages)
            if language in sides:
                sides[language].append((text, TEXTS_LIST))
        sources, targets = (sides[language] for language in self.languages)
        pairs = [self._pair([source, target], place) for source in sources for target in targets]
        return pairs or LeftOut(OTHER_LANGUAGES)

    def _pair(self, sides, place):
        source, target = (one_line(_text(value, field, place)) for value, field in sides)
        return source, target


def _translations(record, place):
    """(the object with the translations of a record, whether all of its keys are languages)."""
    if not isinstance(record, dict):
        return record, False
    if (lists := _language_lists(record, place)) is not None:
        return lists, True
    for field in PAIRS_FIELDS:
        if field not in record:
            continue
        value = record[field]
        if value is None:
            return LeftOut(EMPTY), True
        if isinstance(value, dict):
            lists = _language_lists(value, place)
            return value if lists is None else lists, True
        if _is_list(value) and all(isinstance(item, dict) for item in value):
            lists = [(item.get(LANGUAGES_LIST), item.get(TEXTS_LIST)) for item in value]
            return lists, True
    return record, False


def _language_lists(record, place):
    """List of (language, text) of `TranslationVariableLanguages`, or None for another record."""
    languages, texts = record.get(LANGUAGES_LIST), record.get(TEXTS_LIST)
    if not _is_list(languages) or not _is_list(texts):
        return None
    if len(languages) != len(texts):
        raise InputError(f"{place}: has {len(languages)} languages but {len(texts)} translations; remove the record")
    return list(zip(languages, texts, strict=True))


def _is_list(value):
    """Whether `value` is a list, or an array as TFDS gives it."""
    return isinstance(value, (list, tuple)) or (hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1)


def _checked(names, field, place):
    """`field`, or `InputError` if the records of `names` (see `DocumentField.columns`) lack it."""
    inside = names
    for name in field.split("."):
        if not inside or name not in inside:
            raise InputError(f"{place}: has no field {field!r}, only {_names(inside)}; name another with --fields")
        inside = inside[name]
    return field


def _find(record, path, place):
    for name in path.split("."):
        if not isinstance(record, dict) or name not in record:
            raise InputError(f"{place}: has no field {path!r}, only {_names(record)}; name another with --fields")
        record = record[name]
    return record


def _names(record):
    return ", ".join(map(repr, record)) if isinstance(record, dict) and record else "no named fields"


def _text(value, field, place):
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{place}: field {field!r} is not UTF-8 ({error.reason}); remove the record") from None
    if not isinstance(value, str):
        raise InputError(
            f"{place}: field {field!r} is not text but {type(value).__name__}; name another with --fields"
        )
    return check_text(value, f"{place}: field {field!r}")
