"""Command-line inputs (files and directories) -> readers, by the names of the files."""

import pathlib
import re

from data_prep.readers.chunks import COMPRESSIONS
from data_prep.readers.monolingual import MonolingualText
from data_prep.readers.moses import MosesPairs
from data_prep.readers.tab_separated import TabSeparatedPairs
from infoxlm_keras.errors import InputError

# `de`, `deu`, `pt_br`, `zh_Hans`; alone also with a hyphen, which in a pair separates the two languages.
LANGUAGE = r"[a-z]{2,3}(?:_[A-Za-z0-9]+)*"
MONOLINGUAL = re.compile(r"(?P<language>[a-z]{2,3}(?:[-_][A-Za-z0-9]+)*)\.txt")
TAB_SEPARATED = re.compile(rf"(?P<source>{LANGUAGE})-(?P<target>{LANGUAGE})\.tsv")
MOSES = re.compile(rf"(?P<corpus>(?:.+\.)?(?P<source>{LANGUAGE})-(?P<target>{LANGUAGE}))\.(?P<side>{LANGUAGE})")
MONOLINGUAL_NAMES = "<lang>.txt[.gz|.xz], for instance de.txt.gz"
BITEXT_NAMES = "<src>-<tgt>.tsv[.gz|.xz] or X.<src>-<tgt>.<src>[.gz|.xz] with X.<src>-<tgt>.<tgt>[.gz|.xz]"


def find_monolingual(inputs):
    """Readers of the monolingual files among `inputs`, sorted by language.

    Args:
        inputs: sequence of str or path. Files named `<lang>.txt[.gz|.xz]`, or directories that hold such
            (not searched any deeper; files with other endings in a directory are passed over).

    Raises:
        InputError: for a missing input, another file name, no file at all, or the same file twice.
    """
    readers = []
    for path in _files(inputs, lambda name: name.endswith(".txt"), MONOLINGUAL_NAMES):
        match = MONOLINGUAL.fullmatch(_plain_name(path))
        if not match:
            raise InputError(f"{path}: is not named {MONOLINGUAL_NAMES}; rename it, or leave it out")
        readers.append(MonolingualText(match["language"], (str(path),)))
    return sorted(readers, key=lambda reader: reader.name)


def find_bitext(inputs):
    """Readers of the pair files among `inputs`, sorted by pair of languages.

    Args:
        inputs: sequence of str or path. Two-column files named `<src>-<tgt>.tsv[.gz|.xz]`, both sides of Moses
            pairs, or directories that hold such.

    Raises:
        InputError: as `find_monolingual`, and for a Moses file whose other side is missing.
    """
    readers, moses = [], {}

    def wanted(name):
        return name.endswith(".tsv") or bool(MOSES.fullmatch(name))

    for path in _files(inputs, wanted, BITEXT_NAMES):
        name = _plain_name(path)
        if match := TAB_SEPARATED.fullmatch(name):
            readers.append(TabSeparatedPairs(_pair(match, path), (str(path),)))
        elif (match := MOSES.fullmatch(name)) and match["side"] in (match["source"], match["target"]):
            pair = _pair(match, path)
            moses.setdefault((path.parent, match["corpus"], pair), {})[match["side"]] = path
        else:
            raise InputError(f"{path}: is not named {BITEXT_NAMES}; rename it, or leave it out")
    for (folder, corpus, pair), sides in moses.items():
        for side in pair.split("-"):
            if side not in sides:
                present = next(iter(sides.values()))
                raise InputError(f"{present}: its other side {folder / corpus}.{side} is not among the inputs; add it")
        readers.append(MosesPairs(pair, tuple(str(sides[side]) for side in pair.split("-"))))
    return sorted(readers, key=lambda reader: reader.name)


def _pair(match, path):
    if match["source"] == match["target"]:
        raise InputError(f"{path}: names {match['source']} on both sides; a pair has two languages, rename the file")
    return f"{match['source']}-{match['target']}"


def _plain_name(path):
    """The file's name without the ending of its compression."""
    return path.name.removesuffix(path.suffix) if path.suffix in COMPRESSIONS else path.name


def _files(inputs, wanted, names):
    """The files that `inputs` name, and those in its directories whose plain name is `wanted`."""
    found, plain_names = [], set()
    for item in map(pathlib.Path, inputs):
        if item.is_dir():
            paths = sorted(path for path in item.iterdir() if path.is_file() and wanted(_plain_name(path)))
            if not paths:
                raise InputError(f"{item}: holds no file named {names}")
        elif item.exists():
            paths = [item]
        else:
            raise InputError(f"{item}: no such file or directory; give files named {names}, or their folder")
        for path in paths:
            # de.txt beside de.txt.gz is one text twice, as is a file named along with its folder.
            key = path.resolve().parent / _plain_name(path)
            if key in plain_names:
                raise InputError(f"{path}: is given twice, or once more under another ending; name each text once")
            plain_names.add(key)
            found.append(path)
    return found
