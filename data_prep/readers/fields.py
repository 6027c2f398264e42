"""Text in records with named fields (JSON objects, rows of Parquet files, TFDS examples)."""

import dataclasses

from data_prep.readers.languages import language_or_none
from data_prep.readers.packed import check_text, one_line
from infoxlm_keras.errors import InputError

DOCUMENT_FIELD = "text"
PAIRS_FIELD = "translation"


@dataclasses.dataclass(frozen=True)
class DocumentField:
    """Finds a document in a record.

    Args:
        field: str, the field's name; `a.b` is field b of the record in field a.
    """

    field: str = DOCUMENT_FIELD

    @property
    def columns(self):
        """tuple of str or None: the fields at the top of a record that are needed; None for all."""
        return (self.field.split(".")[0],)

    def __call__(self, record, place):
        """List of str: the lines of the document, and "" where it ends.

        Raises:
            InputError: if the field is missing or is no text; begins with `place`.
        """
        text = _text(_find(record, self.field, place), self.field, place)
        lines = [line for line in map(str.strip, text.split("\n")) if line]
        return [*lines, ""]


@dataclasses.dataclass(frozen=True)
class PairFields:
    """Finds a pair of sentences in a record.

    Args:
        languages: (str, str), names of the two languages (see `data_prep.readers.languages`).
        fields: (str, str) of their fields; or None for fields named by language codes, in `translation` or at the top.
    """

    languages: tuple[str, str]
    fields: tuple[str, str] | None = None

    @property
    def columns(self):
        """tuple of str or None: the fields at the top of a record that are needed; None for all."""
        return self.fields and tuple(sorted({field.split(".")[0] for field in self.fields}))

    def __call__(self, record, place):
        """(source, target), str; line breaks in them have become spaces.

        Raises:
            InputError: if a field is missing or is no text; begins with `place`.
        """
        if self.fields:
            sides = [(_find(record, field, place), field) for field in self.fields]
        else:
            sides = [self._by_language(record, language, place) for language in self.languages]
        source, target = (one_line(_text(value, field, place)) for value, field in sides)
        return source, target

    def _by_language(self, record, language, place):
        translations = record.get(PAIRS_FIELD) if isinstance(record, dict) else None
        translations = translations if isinstance(translations, dict) else record
        if isinstance(translations, dict):
            for key, value in translations.items():
                if language_or_none(key) == language:
                    return value, key
        raise InputError(f"{place}: has no field for {language}, only {_names(translations)}; name it with --fields")


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
        raise InputError(f"{place}: field {field!r} is no text but {type(value).__name__}; name another with --fields")
    return check_text(value, f"{place}: field {field!r}")
