"""The two sides of Moses pairs brought together, from files and from archives."""

import pathlib
import re

from data_prep.readers.archive import read_members
from data_prep.readers.compression import COMPRESSIONS
from data_prep.readers.inputs import path_kind
from data_prep.readers.moses import MosesPairs
from infoxlm_keras.errors import InputError

# `de`, `deu`, `pt_br`, `zh_Hans`; a hyphen separates the two languages of a pair.
LANGUAGE = r"[a-z]{2,3}(?:_[A-Za-z0-9]+)*"
MOSES = re.compile(rf"(?P<corpus>(?:.+\.)?(?P<source>{LANGUAGE})-(?P<target>{LANGUAGE}))\.(?P<side>{LANGUAGE})")


class MosesFiles:
    """Collects sides until both of each pair are there.

    Args:
        pair_of: callable, (source code, target code, path) -> name of the pair.
    """

    def __init__(self, pair_of):
        self.pair_of = pair_of
        self.sides = {}

    def add(self, path, corpus, languages, side):
        """Adds the side `side` of `languages` (its pair of codes) of the text `corpus`."""
        name = self.pair_of(*languages, path)
        self.sides.setdefault((path.parent, corpus, languages, name), {})[side] = path

    def readers(self):
        """List of `MosesPairs`.

        Raises:
            InputError: for a side without the other.
        """
        readers = []
        for (folder, corpus, languages, name), sides in self.sides.items():
            for side in languages:
                if side not in sides:
                    present = next(iter(sides.values()))
                    raise InputError(
                        f"{present}: its other side {folder / corpus}.{side} is not among the inputs; add it"
                    )
            readers.append(MosesPairs(name, tuple(str(sides[side]) for side in languages)))
        return readers


def archive_readers(path, pair_of, wanted=None):
    """Readers of the Moses pairs in the ZIP archive `path`.

    Args:
        path: str or path.
        pair_of: callable, (source code, target code, path) -> name of the pair.
        wanted: str or None, the one pair to take; None for all.

    Raises:
        InputError: for an archive that is not safe, a side without the other, and no pair at all.
    """
    sides = {}
    for member in read_members(str(path)):
        match = MOSES.fullmatch(member.filename.rpartition("/")[2])
        if match and match["side"] in (match["source"], match["target"]):
            languages = match["source"], match["target"]
            name = pair_of(*languages, f"{path}: {member.filename}")
            key = (member.filename.rpartition(".")[0], languages, name)
            sides.setdefault(key, {})[match["side"]] = member.filename
    readers = []
    for (stem, languages, name), members in sides.items():
        for side in languages:
            if side not in members:
                raise InputError(f"{path}: holds only one side of {stem}, {stem}.{side} is missing; fetch it again")
        if wanted in (None, name):
            readers.append(MosesPairs(name, (str(path),), tuple(members[side] for side in languages)))
    if not readers:
        held = ", ".join(name for _, _, name in sides) or "no pair of files named X.<src>-<tgt>.<src>"
        missed = f", not {wanted}" if wanted else ""
        raise InputError(f"{path}: holds {held}{missed}; unpack it, or leave it out")
    return readers


def stem_reader(stem, name, languages):
    """`MosesPairs` of the files `<stem>.<language>` of two `languages` (codes), each perhaps compressed.

    Raises:
        InputError: if one is missing.
    """
    files = []
    for language in languages:
        names = [f"{stem}.{language}{ending}" for ending in ("", *COMPRESSIONS)]
        present = [name for name in names if path_kind(name) == "file"]
        if not present:
            raise InputError(
                f"{stem}: no such file or directory, nor {pathlib.Path(names[0]).name} (and the other language's) "
                "beside it"
            )
        if len(present) > 1:
            raise InputError(f"{present[1]}: is given twice, or once more under another ending; name each text once")
        files.append(present[0])
    return MosesPairs(name, tuple(files))
