"""Matches the two sides of Moses pairs, in folders and in archives."""

import pathlib
from collections.abc import Callable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import COMPRESSIONS
from infoxlm_keras.text.readers.archive import read_members
from infoxlm_keras.text.readers.found import Entry
from infoxlm_keras.text.readers.inputs import PassedOver, litter_reason, path_kind
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.names import moses_sides


class MosesFiles:
    """Collects sides until both of each pair are there.

    Args:
        pair_of: callable, (source code, target code, path) -> name of the pair.
    """

    def __init__(self, pair_of: Callable[[str, str, PathLike], str]) -> None:
        self.pair_of = pair_of
        self.sides: dict[tuple[pathlib.Path, str, tuple[str, str], str], dict[int, tuple[pathlib.Path, bool]]] = {}

    def add(self, path: pathlib.Path, corpus: str, codes: tuple[str, str], number: int, explicit: bool = True) -> None:
        """Adds side `number` (0 or 1) of the pair of `codes` (languages as the name has them) of the text `corpus`."""
        name = self.pair_of(*codes, path)
        self.sides.setdefault((path.parent, corpus, codes, name), {})[number] = (path, explicit)

    def entries(self) -> list[Entry]:
        """List of `Entry`.

        Raises:
            InputError: for a side without the other.
        """
        entries = []
        for (folder, corpus, codes, name), sides in self.sides.items():
            for number, code in enumerate(codes):
                if number not in sides:
                    present, _ = next(iter(sides.values()))
                    raise InputError(
                        f"{present}: its other side {folder / corpus}.{code} is not among the inputs; add it"
                    )
            (source, explicit), (target, _) = sides[0], sides[1]
            entries.append(Entry(MosesPairs(name, (str(source), str(target))), explicit, codes))
        return entries


def archive_entries(
    path: PathLike, pair_of: Callable[[str, str, PathLike], str], wanted: str | None = None
) -> tuple[list[Entry], list[PassedOver]]:
    """The Moses pairs in the ZIP archive `path`, and its other members.

    Args:
        path: str or path.
        pair_of: callable, (source code, target code, path) -> name of the pair.
        wanted: str or None, the one pair to take; None for all.

    Returns:
        (list of `Entry`, list of `PassedOver`).

    Raises:
        InputError: for an archive that is not safe, a side without the other, and no pair at all.
    """
    path = str(path)
    sides: dict[tuple[str, tuple[str, str], str], dict[int, str]] = {}
    passed_over: list[PassedOver] = []
    for member in read_members(path):
        reason, place = litter_reason(member.filename), f"{path}: {member.filename}"
        found = None if reason else moses_sides(member.filename.rpartition("/")[2], place)
        side = None if found is None else found[2]
        if found is None or side is None:
            passed_over.append(PassedOver(path, reason or "not named like a corpus", member.filename))
            continue
        codes = found[1]
        key = (member.filename.rpartition(".")[0], codes, pair_of(*codes, place))
        sides.setdefault(key, {})[side] = member.filename
    entries = []
    for (stem, codes, name), members in sides.items():
        for number, code in enumerate(codes):
            if number not in members:
                raise InputError(f"{path}: holds only one side of {stem}, {stem}.{code} is missing; fetch it again")
        if wanted in (None, name):
            reader = MosesPairs(name, (path,), (members[0], members[1]))
            entries.append(Entry(reader, wanted is not None or len(sides) == 1, codes))
        else:
            passed_over += [PassedOver(path, f"not {wanted}", member) for member in members.values()]
    if not entries:
        held = ", ".join(name for _, _, name in sides) or "no pair of files named X.<src>-<tgt>.<src>"
        missed = f", not {wanted}" if wanted else ""
        raise InputError(f"{path}: holds {held}{missed}; unpack it, or leave it out")
    return entries, passed_over


def stem_reader(stem: str, name: str, languages: tuple[str, str]) -> MosesPairs:
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
            raise InputError(f"{present[1]}: is given twice, perhaps with another ending; give each text once")
        files.append(present[0])
    return MosesPairs(name, tuple(files))


def two_files(address: str) -> tuple[str, str] | None:
    """The two files of `address` (str, `A,B`), or None if it names none; names may hold commas themselves.

    Raises:
        InputError: if only one of them is there.
    """
    parts = address.split(",")
    splits = [(",".join(parts[:number]), ",".join(parts[number:])) for number in range(1, len(parts))]
    kinds = [tuple(path_kind(path) if path else None for path in split) for split in splits]
    for split, kind in zip(splits, kinds, strict=True):
        if kind == ("file", "file"):
            return split
    for split, kind in zip(splits, kinds, strict=True):
        if None not in kind:
            folder = split[kind.index("folder")]
            raise InputError(f"{folder}: is a folder; give two files of equally many lines, as in en-de=A.txt,B.txt")
        if "file" in kind:
            raise InputError(
                f"{split[1 - kind.index('file')]}: no such file; {address} names two, separated by a comma"
            )
    return None
