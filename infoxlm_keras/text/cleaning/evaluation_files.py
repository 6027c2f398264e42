"""Every text in an evaluation file of any format that the readers of corpora read, whatever its language and field."""

import csv
import io
import os
import pathlib
import re
import unicodedata
from collections.abc import Iterator

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.first_bytes import markup_error
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.files.text_and_json import load_json
from infoxlm_keras.text.readers import bitext_discovery, tfds_examples
from infoxlm_keras.text.readers.archive import read_members
from infoxlm_keras.text.readers.chunks import LineStream, decode_lines
from infoxlm_keras.text.readers.gettext_catalog import load_catalog
from infoxlm_keras.text.readers.inputs import (
    path_kind,
    plain_name,
    refuse_archive,
    refuse_compressed,
    unpacked_by,
)
from infoxlm_keras.text.readers.json_lines import parse_object
from infoxlm_keras.text.readers.parquet import SAVED_DATASET, SAVED_SPLITS, read_saved_texts, read_texts
from infoxlm_keras.text.readers.tmx_units import UnitHandler, read_units

# What is not read from inside an archive.
UNPACKED_ONLY = (".parquet", ".po", ".zip")
# How much of a file in columns shows what separates them.
SNIFFED_CHARACTERS = 1 << 16
# Markup other than TMX, by the ending and by the first line.
MARKUP_ENDINGS = (".sgm", ".sgml", ".xml", ".html", ".htm", ".xhtml", ".xlf", ".xliff", ".svg")
MARKUP = re.compile(r"\s*<(\?xml\s|!doctype\s|(mteval|srcset|refset|tstset|html|dataset|xliff)[\s>])", re.IGNORECASE)


def evaluation_texts(item: PathLike) -> Iterator[str]:
    """Yields every text (str, never blank) of an evaluation file or folder.

    Args:
        item: str or path: a file, by its ending (.jsonl, .json, .csv, .tmx, .po, .parquet, .zip; lines with columns by
            tabs otherwise; compressed too), a folder of such files at any depth, or of a saved dataset,
            `tfds:NAME...`, or a Moses stem `en-de=STEM`. A name before `=` says nothing more for the others.

    Raises:
        InputError: if it is missing, damaged, or in none of these formats; names file and line.
    """
    address = os.fspath(item)
    name, equals, rest = address.partition("=")
    if equals and not os.path.lexists(address):
        address = rest
    for text in _address_texts(address, os.fspath(item)):
        # A text of several lines is to be found whole and by its lines.
        for line in {text, *text.splitlines()}:
            if line.strip():
                yield line


def _address_texts(address, item):
    if address.startswith(tfds_examples.PREFIX):
        yield from tfds_examples.read_texts(address)
        return
    kind = path_kind(address)
    if kind is None and address == item:
        raise InputError(
            f"{address}: no such file or directory; --evaluation_files takes files and folders in the formats of "
            "--input"
        )
    if kind is None:
        for reader in bitext_discovery.find_bitext([item]):
            for chunk in reader.chunks():
                for pair in reader.read(chunk):
                    yield from pair
    elif kind == "file":
        yield from _file_texts(address)
    elif any((pathlib.Path(address) / name).is_file() for name in (SAVED_DATASET, SAVED_SPLITS)):
        yield from read_saved_texts(address)
    else:
        for path in sorted(pathlib.Path(address).rglob("*")):
            hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(address).parts)
            if not hidden and path_kind(path) == "file":
                yield from _file_texts(str(path))


def _file_texts(path):
    name = plain_name(path).lower()
    if not name.endswith(".zip"):
        refuse_archive(path)
    if name.endswith(UNPACKED_ONLY):
        refuse_compressed(path)
    if name.endswith(".zip"):
        for member in read_members(path):
            yield from _member_texts(path, member.filename)
    elif name.endswith(".parquet"):
        yield from read_texts(path)
    elif name.endswith(".po"):
        for entry in load_catalog(path):
            yield from (entry.msgid, entry.msgid_plural, entry.msgstr, *entry.msgstr_plural.values())
    else:
        with LineStream(path) as stream:
            yield from _stream_texts(stream, name)


def _member_texts(path, member):
    name = plain_name(member).lower()
    if name.endswith(UNPACKED_ONLY) or unpacked_by(member):
        raise InputError(f"{path}: {member}: is not read from inside an archive; unpack it, and name its folder")
    with LineStream(path, member) as stream:
        yield from _stream_texts(stream, name)


def _stream_texts(stream, name):
    """The texts of a format that is streamed; `name` (lower case) is the plain name of what `stream` gives."""
    if name.endswith(".tmx"):
        handler = UnitHandler(stream.place)
        for _, segments in read_units(stream, handler):
            if segments is None:
                raise InputError(f"{stream.place}: {handler.problem}; correct it, so that all of it is left out")
            yield from (text for _, text in segments)
    elif name.endswith((".jsonl", ".ndjson")):
        for number, line in _lines(stream):
            if line.strip():
                yield from _leaves(parse_object(line, f"{stream.place}: line {number}"))
    elif name.endswith(".json"):
        text = "\n".join(line for _, line in _lines(stream))
        with parsing(stream.place, "valid JSON"):
            content = load_json(text)
        yield from _leaves(content)
    elif name.endswith(".csv"):
        text = "\n".join(line for _, line in _lines(stream))
        with parsing(stream.place, "a file in columns (CSV)"):
            rows = list(csv.reader(io.StringIO(text, newline=""), _dialect(text)))
        for row in rows:
            yield from row
    else:
        for number, line in _lines(stream):
            if number == 1:
                _check_plain(line, name, stream.place)
            yield from line.split("\t")


def _check_plain(line, name, place):
    """Raises `InputError` if a file whose first line is `line` holds markup or binary data, not lines of text."""
    if name.endswith(MARKUP_ENDINGS) or MARKUP.match(line):
        raise markup_error(place)
    head = line[:SNIFFED_CHARACTERS]
    if sum(unicodedata.category(character) == "Cc" for character in head.replace("\t", "")) * 10 > len(head):
        raise InputError(f"{place}: line 1: holds control characters, so it is not a text file; leave it out")


def _dialect(text):
    try:
        return csv.Sniffer().sniff(text[:SNIFFED_CHARACTERS], delimiters=",;\t")
    except csv.Error:
        # One column, which may hold commas: as spreadsheets write it.
        return csv.excel


def _lines(stream):
    """Yields (number, line) of a `LineStream`."""
    first = 1
    while body := stream.read_body():
        lines = decode_lines(body, stream.place, first)
        yield from enumerate(lines, start=first)
        first += len(lines)


def _leaves(value):
    """Yields every str within a JSON value."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
