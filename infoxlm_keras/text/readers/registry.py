"""The file formats of corpora, a row each: discovery finds a reader by the ending of a file's name.

To add a format, write a file with its reader (see `reader.Reader`) and add a row to `MONOLINGUAL` or `BITEXT`. The
tables of `--help` are in `formats.py`.
"""

import dataclasses
from collections.abc import Callable

from infoxlm_keras.text.readers import gettext_catalog, tmx
from infoxlm_keras.text.readers.fields import DocumentField, PairFields
from infoxlm_keras.text.readers.json_lines import JsonLines
from infoxlm_keras.text.readers.parquet import ParquetRows
from infoxlm_keras.text.readers.plain_text import MonolingualText
from infoxlm_keras.text.readers.reader import Reader
from infoxlm_keras.text.readers.tab_separated import MARGIN_THRESHOLD, MarginPairs, TabSeparatedPairs


@dataclasses.dataclass(frozen=True)
class Selection:
    """What a reader takes of a file.

    Args:
        fields: `DocumentField` or `PairFields`, for formats whose records have named fields.
        margin: float, least margin score of mined pairs.
    """

    fields: DocumentField | PairFields
    margin: float = MARGIN_THRESHOLD


@dataclasses.dataclass(frozen=True)
class FileFormat:
    """One row: which files have the format, and how to read one.

    Args:
        ending: str, the last part of the file's name, without the ending of a compression.
        open: callable, (name of the stream, paths, `Selection`) -> `Reader`.
        prefix: str, what the file's name must begin with.
        pair_in_name: bool, the pair of languages may stand before the ending (`X.en-de.tsv`).
        pairs_inside: callable or None, path -> list of the pairs that the content names; used where the file's name
            has none.
        always_corpus: bool, no other kind of file has this ending. A folder's file that names no languages is passed
            over with the advice how to name them.
        compressed: bool, whether the reader reads compressed files.
    """

    ending: str
    open: Callable[[str, tuple[str, ...], Selection], Reader]
    prefix: str = ""
    pair_in_name: bool = True
    pairs_inside: Callable[[str], list[str]] | None = None
    always_corpus: bool = False
    compressed: bool = True


def _catalog_pairs(path: str) -> list[str]:
    return [gettext_catalog.find_pair(path)]


MONOLINGUAL = (
    FileFormat(".txt", lambda name, files, selection: MonolingualText(name, files), always_corpus=True),
    FileFormat(".jsonl", lambda name, files, selection: JsonLines(name, files, selection.fields)),
    FileFormat(
        ".parquet", lambda name, files, selection: ParquetRows(name, files, selection.fields), compressed=False
    ),
)
# The first row that matches is used.
BITEXT = (
    FileFormat(
        ".tsv",
        lambda name, files, selection: MarginPairs(name, files, selection.margin),
        prefix="WikiMatrix.",
        always_corpus=True,
    ),
    FileFormat(".tsv", lambda name, files, selection: TabSeparatedPairs(name, files), always_corpus=True),
    FileFormat(
        ".tmx",
        lambda name, files, selection: tmx.TmxPairs(name, files),
        pairs_inside=tmx.find_pairs,
        always_corpus=True,
    ),
    FileFormat(".jsonl", lambda name, files, selection: JsonLines(name, files, selection.fields)),
    FileFormat(
        ".parquet", lambda name, files, selection: ParquetRows(name, files, selection.fields), compressed=False
    ),
    FileFormat(
        ".po",
        lambda name, files, selection: gettext_catalog.GettextPairs(name, files),
        pair_in_name=False,
        pairs_inside=_catalog_pairs,
        always_corpus=True,
        compressed=False,
    ),
)


def find_format(name: str, formats: tuple[FileFormat, ...]) -> FileFormat | None:
    """The first of `formats` that a file's name matches, or None.

    Args:
        name: str, without folder and without the ending of a compression, see `inputs.plain_name`.
        formats: tuple of `FileFormat`.
    """
    found = (row for row in formats if name.endswith(row.ending) and name.lower().startswith(row.prefix.lower()))
    return next(found, None)


def endings(formats: tuple[FileFormat, ...]) -> tuple[str, ...]:
    """The endings of `formats`, each once, in the order of the rows."""
    return tuple(dict.fromkeys(row.ending for row in formats))
