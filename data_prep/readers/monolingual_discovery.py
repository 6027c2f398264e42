"""Command-line inputs -> readers of monolingual text, by the names of the files."""

import pathlib
import re

from data_prep.readers import tfds_examples
from data_prep.readers.fields import DOCUMENT_FIELD, DocumentField
from data_prep.readers.formats import MONOLINGUAL_NAMES
from data_prep.readers.inputs import GivenOnce, folder_files, parse_input, path_kind, plain_name
from data_prep.readers.json_lines import JsonLines
from data_prep.readers.languages import language_name
from data_prep.readers.monolingual import MonolingualText
from data_prep.readers.parquet import ParquetRows, open_folder
from data_prep.readers.tatoeba import TatoebaSentences
from infoxlm_keras.errors import InputError

LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*")
FILE = re.compile(rf"(?P<language>{LANGUAGE.pattern})(?P<ending>\.txt|\.jsonl|\.parquet)")
ENDINGS = (".txt", ".jsonl", ".parquet")


def find_monolingual(inputs, fields=None):
    """Readers of the monolingual text among `inputs`, sorted by language.

    Args:
        inputs: sequence of str or path, in the forms of `formats.MONOLINGUAL_FORMATS`. A folder is not searched any
            deeper; files with other endings in it are passed over.
        fields: sequence of one str or None, the field with the text in formats that have fields.

    Raises:
        InputError: for a missing input, another file name, an unknown language, no file at all, or the same file
            twice.
    """
    if fields is not None and len(fields) != 1:
        raise InputError(f"--fields {' '.join(fields)}: monolingual text is in one field; name one")
    field = fields[0] if fields else None
    given, readers = GivenOnce(), []
    for item in inputs:
        entry = parse_input(item, LANGUAGE)
        if entry.address.startswith(tfds_examples.PREFIX):
            language = entry.name and language_name(entry.name, item)
            readers.append(tfds_examples.open_documents(entry.address, language, field))
        elif entry.name:
            given.check(entry.address, entry.name)
            readers.append(_open_named(entry.address, language_name(entry.name, item), field))
        else:
            for path in _files(entry.address):
                given.check(path)
                readers.append(_open_file(path, field))
    return sorted(readers, key=lambda reader: reader.name)


def _files(address):
    kind = path_kind(address)
    if kind is None:
        raise InputError(
            f"{address}: no such file or directory; give files named {MONOLINGUAL_NAMES}, or their folder"
        )
    if kind == "file":
        return [pathlib.Path(address)]

    def wanted(name):
        return name.endswith(".txt") or bool(FILE.fullmatch(name))

    return folder_files(address, wanted, MONOLINGUAL_NAMES)


def _open_file(path, field):
    match = FILE.fullmatch(plain_name(path))
    if not match:
        raise InputError(
            f"{path}: is not named {MONOLINGUAL_NAMES}; rename it, name its language as in de={path}, or leave it out"
        )
    return _reader(path, match["ending"], language_name(match["language"], path), field)


def _open_named(address, language, field):
    """The reader of `address`, whose language is given."""
    path, _, split = address.partition("#")
    if path_kind(address) is None and path_kind(path) == "folder":
        return open_folder(path, language, split, DocumentField(field or DOCUMENT_FIELD))
    kind = path_kind(address)
    if kind is None:
        raise InputError(f"{address}: no such file or directory")
    if kind == "folder":
        return open_folder(address, language, None, DocumentField(field or DOCUMENT_FIELD))
    name = plain_name(address)
    if name == "sentences.csv":
        return TatoebaSentences(language, (address,))
    for ending in ENDINGS:
        if name.endswith(ending):
            return _reader(address, ending, language, field)
    raise InputError(f"{address}: has none of the endings {', '.join(ENDINGS)}; its format is not known, rename it")


def _reader(path, ending, language, field):
    files, finder = (str(path),), DocumentField(field or DOCUMENT_FIELD)
    if ending == ".txt":
        return MonolingualText(language, files)
    if ending == ".jsonl":
        return JsonLines(language, files, finder)
    return ParquetRows(language, files, finder)
