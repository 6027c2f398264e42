"""The corpus on disk: one compressed file a language, line n the same paragraph in all of them.

    corpus.json                 languages, packages, counts
    train/pages.txt.xz          the page of line n, where it differs from that of the line before
    train/en.txt.xz             English
    train/de.txt.xz             a translation; an empty line where there is none that is usable
    heldout/...                 the same, and no line is empty

Compression depends on nothing but the text: no time stamps, no names.
"""

import lzma
import pathlib
from collections.abc import Iterable, Sequence

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import DAMAGE, decompressed
from infoxlm_keras.sample_corpus.alignment import Row

PAGES = "pages"
SUFFIX = ".txt.xz"

# Text repeats at any byte offset (pb=0), and a byte depends much on the one before it (lc=4).
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]


def write_rows(directory: pathlib.Path, rows: Sequence[Row], languages: Sequence[str]) -> None:
    """Writes rows into `directory`, which is made.

    Args:
        directory: path.
        rows: list of `Row`.
        languages: list of language codes, without English.
    """
    directory.mkdir(parents=True)
    pages = [row.page for row in rows]
    marks = [page if page != before else "" for before, page in zip([None, *pages], pages, strict=False)]
    write_lines(directory, PAGES, marks)
    write_lines(directory, "en", [row.english for row in rows])
    for language in languages:
        write_lines(directory, language, [row.translations.get(language, "") for row in rows])


def write_lines(directory: pathlib.Path, name: str, lines: Iterable[str]) -> None:
    data = "".join(f"{line}\n" for line in lines).encode("utf-8")
    (directory / f"{name}{SUFFIX}").write_bytes(lzma.compress(data, filters=FILTERS))


def read_rows(directory: PathLike, languages: Sequence[str]) -> list[Row]:
    """The rows that `write_rows` wrote, with the given languages only.

    Rows without a translation into any of `languages` are kept: they are English text.

    Raises:
        InputError: if a file is missing, damaged, or not as long as the others.
    """
    directory = pathlib.Path(directory)
    columns = {name: read_lines(directory, name) for name in (PAGES, "en", *languages)}
    for name, lines in columns.items():
        if len(lines) != len(columns["en"]):
            raise InputError(
                f"{directory / name}{SUFFIX}: has {len(lines)} lines, the English file {len(columns['en'])}; "
                "restore the folder from the repository"
            )
    rows, page = [], ""
    for number, (mark, english) in enumerate(zip(columns[PAGES], columns["en"], strict=True)):
        page = mark or page
        texts = {language: columns[language][number] for language in languages}
        rows.append(Row(page, english, {language: text for language, text in texts.items() if text}))
    return rows


def read_lines(directory: pathlib.Path, name: str) -> list[str]:
    path = directory / f"{name}{SUFFIX}"
    try:
        with open(path, "rb") as file:
            # Not `lzma.decompress`, which ignores what follows the first stream.
            return decompressed(file, SUFFIX).read().decode("utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; restore the folder from the repository") from None
    except (EOFError, *DAMAGE, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is damaged ({error}); restore the folder from the repository") from None
