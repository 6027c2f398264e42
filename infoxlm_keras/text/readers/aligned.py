"""Aligned texts: one file a language in a folder; line n of every file has the same meaning.

    X.en, X.hi                                     IIT Bombay, WMT's development sets
    eng_Latn.devtest, zho_Hans.devtest             FLORES-101 and FLORES-200
    newstest2019-src.eng.txt, ...-ref.zho-CN.txt   NTREX-128

Two languages are a pair. Of more than two, one makes a pair with each of the others: English, or another pivot.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.text.languages import UnusableNameError, language_or_none
from infoxlm_keras.text.readers.inputs import unpacked_by
from infoxlm_keras.text.readers.names import is_pair, is_usual, moses_sides

FLORES_SPLITS = ("dev", "devtest")
NTREX = re.compile(r"(?P<corpus>.+)-(?:src|ref)\.(?P<code>[^.]+)\.txt")
FLORES_CODE = re.compile("[a-z]{3}(_[A-Za-z]+)?")
ENGLISH = "en"
# Endings of other kinds of files that are also codes of languages.
OTHER_ENDINGS = (
    "txt",
    "tsv",
    "doc",
    "log",
    "bin",
    "tar",
    "xml",
    "ids",
    "bib",
    "out",
    "tmp",
    "bak",
    "aux",
    "dat",
    "csv",
)


@dataclasses.dataclass(frozen=True)
class Side:
    """One file as a side of a pair.

    Attributes:
        corpus: str, what both files have in common.
        codes: (str, str), the pair's languages as the files' names have them.
        number: 0 or 1, which of them the file is in.
    """

    corpus: str
    codes: tuple[str, str]
    number: int


def aligned_sides(
    names: Iterable[str], folder: PathLike, pivot: str = ENGLISH
) -> tuple[dict[str, list[Side]], dict[str, str]]:
    """Finds the files that are sides of aligned texts, by their names.

    Args:
        names: iterable of str, plain names (see `inputs.plain_name`).
        folder: path, for messages.
        pivot: str, the language that is paired with each of the others.

    Returns:
        (dict of name to list of `Side`; dict of name to the reason why a file of such a name is no side).
    """
    corpora: dict[str, dict[str, str]] = {}
    for name in sorted(set(names)):
        if part := _part(name, folder):
            corpus, code = part
            corpora.setdefault(corpus, {})[code] = name
    sides: dict[str, list[Side]] = {}
    left: dict[str, str] = {}
    for corpus, files in corpora.items():
        languages = {code: language_or_none(code) for code in files}
        # Nearly any three letters are a code, so codes of small languages count only beside English or the pivot.
        if not {ENGLISH, pivot} & {*languages.values()}:
            files = {code: name for code, name in files.items() if is_usual(code)}
        if all(map(is_pair, files)):
            # `train.en-de` and `train.en-fr` are no sides in English.
            continue
        if len(files) < 2:
            continue
        if len(files) == 2:
            first, second = sorted(files)
            pairs = [(first, second)]
        else:
            pairs, varieties = _pairs_with_pivot(files, languages, pivot)
            name = "English" if pivot == ENGLISH else pivot
            if not pairs:
                reason = f"one of several languages, none of them {name}: name a pair, as in de-fr=STEM"
                left.update(dict.fromkeys(files.values(), reason))
            else:
                reason = f"another text in {name}, which the others are paired with: name a pair, as in en-en_GB=A,B"
                left.update({files[code]: reason for code in varieties})
        for codes in pairs:
            for number, code in enumerate(codes):
                sides.setdefault(files[code], []).append(Side(corpus, codes, number))
    return sides, left


def _part(name, folder):
    """(corpus, code) of a name, or None."""
    if match := NTREX.fullmatch(name):
        return (match["corpus"], match["code"]) if language_or_none(match["code"]) else None
    stem, dot, ending = name.rpartition(".")
    # `rar` and `tgz` are codes of languages, too.
    if not stem or unpacked_by(name):
        return None
    if ending in FLORES_SPLITS:
        return (f"*.{ending}", stem) if FLORES_CODE.fullmatch(stem) and language_or_none(stem) else None
    if ending in OTHER_ENDINGS or language_or_none(ending) is None:
        return None
    try:
        return None if moses_sides(name, pathlib.Path(folder) / name) else (stem, ending)
    except UnusableNameError:
        return None


def _pairs_with_pivot(files, languages, pivot):
    """(list of (code of the pivot, code of another language), list of the pivot's other codes).

    Of several kinds of the pivot the shortest code is the source. The others are no translations: NTREX's British
    English would be found by its English source in nearly every line.
    """
    kinds = sorted((code for code in files if languages[code] == pivot), key=lambda code: (len(code), code))
    # NTREX has one source, and British, Indian and American references beside it.
    kinds = [code for code in kinds if "-src." in files[code]] + kinds
    others = [code for code in sorted(files) if languages[code] != pivot]
    return [(kinds[0], code) for code in others] if kinds else [], [code for code in {*kinds} if code != kinds[0]]
