"""Command-line inputs -> readers of monolingual text, by the names of the files."""

import pathlib
from collections.abc import Iterable, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import UnusableNameError, language_name
from infoxlm_keras.text.readers import tfds_examples
from infoxlm_keras.text.readers.fields import DOCUMENT_FIELD, DocumentField
from infoxlm_keras.text.readers.formats import MONOLINGUAL_NAMES
from infoxlm_keras.text.readers.found import Entry, Found, found_in_folders
from infoxlm_keras.text.readers.inputs import (
    GivenOnce,
    folder_files,
    parse_input,
    path_kind,
    plain_name,
    refuse_archive,
    refuse_compressed,
)
from infoxlm_keras.text.readers.names import LANGUAGE_PATTERN, is_pair, is_usual
from infoxlm_keras.text.readers.parquet import open_folder
from infoxlm_keras.text.readers.registry import MONOLINGUAL, Selection, endings, find_format
from infoxlm_keras.text.readers.tatoeba import TatoebaSentences


def find_monolingual(inputs: Iterable[PathLike], fields: Sequence[str] | None = None) -> Found:
    """Readers of the monolingual text among `inputs`, sorted by language.

    Args:
        inputs: sequence of str or path, in the forms of `formats.MONOLINGUAL_FORMATS`. Subfolders are not
            searched.
        fields: sequence of one str or None, the field with the text in formats that have fields.

    Returns:
        `Found`, a list that also says what was passed over in folders.

    Raises:
        InputError: for a missing input, no file at all, or the same file twice; for another file name or an unknown
            language if the file was given by its own name, or is all that its folder holds.
    """
    if fields is not None and len(fields) != 1:
        raise InputError(f"--fields {' '.join(fields)}: monolingual text is in one field; name one")
    field = fields[0] if fields else None
    given, entries, passed_over = GivenOnce(), [], []
    folders, unusable = [], []
    for item in inputs:
        entry = parse_input(item, LANGUAGE_PATTERN)
        if entry.address.startswith(tfds_examples.PREFIX):
            language = entry.name and language_name(entry.name, item)
            entries.append(Entry(tfds_examples.open_documents(entry.address, language, field)))
        elif entry.name:
            reader = _open_named(entry.address, language_name(entry.name, item), field)
            entries.append(Entry(reader, codes=(entry.name,)))
        else:
            paths, others, explicit = _files(entry.address)
            passed_over += others
            folders += [] if explicit else [pathlib.Path(entry.address)]
            for path in paths:
                given.check(path)
                try:
                    entries.append(Entry(_open_file(path, field), explicit, (_named_code(plain_name(path)) or "",)))
                except UnusableNameError as error:
                    if explicit:
                        raise
                    unusable.append((path, error))
    return found_in_folders(folders, entries, passed_over, unusable)


def _files(address):
    """(list of path, list of `PassedOver`, whether it is a file) of a file or folder."""
    kind = path_kind(address)
    if kind is None:
        raise InputError(
            f"{address}: no such file or directory; give files named {MONOLINGUAL_NAMES}, or their folder"
        )
    if kind == "file":
        return [pathlib.Path(address)], [], True
    return *folder_files(address, _is_monolingual, MONOLINGUAL_NAMES), False


def _is_monolingual(name):
    format = find_format(name, MONOLINGUAL)
    return format is not None and (format.always_corpus or bool(_named_code(name)))


def _named_code(name):
    """The code of a language in the plain name of a file: `<code>.txt`, or `X.<code>.txt`; None if there is none."""
    path = pathlib.Path(name)
    if path.suffix not in endings(MONOLINGUAL):
        return None
    prefix, dot, code = path.stem.rpartition(".")
    if not LANGUAGE_PATTERN.fullmatch(code):
        return None
    # Any three letters are the code of some language, but `notes.new.txt` and NEW.txt are not Newari.
    if (dot or code.isupper()) and not is_usual(code):
        return None
    return None if dot and is_pair(code) else code


def _open_file(path, field):
    name = plain_name(path)
    code = _named_code(name)
    if code is None:
        refuse_archive(path)
        raise UnusableNameError(
            f"{path}: is not named {MONOLINGUAL_NAMES}; rename it, name its language as in de={path}, or leave it out",
            "its name does not say a language: write it before it, as in de=FILE",
        )
    return _reader(path, language_name(code, path), field)


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
    return _reader(address, language, field)


def _reader(path, language, field):
    format = find_format(plain_name(path), MONOLINGUAL)
    if format is None:
        refuse_archive(path)
        known = ", ".join(endings(MONOLINGUAL))
        raise InputError(f"{path}: has none of the endings {known}; its format is unknown; rename it")
    if not format.compressed:
        refuse_compressed(path)
    return format.open(language, (str(path),), Selection(DocumentField(field or DOCUMENT_FIELD)))
