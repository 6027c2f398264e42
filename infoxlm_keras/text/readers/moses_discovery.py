"""Matches the two sides of Moses pairs, in folders and in archives."""

import pathlib
from collections.abc import Callable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import COMPRESSIONS
from infoxlm_keras.text.languages import UnusableNameError
from infoxlm_keras.text.readers.archive import read_members
from infoxlm_keras.text.readers.found import Entry
from infoxlm_keras.text.readers.inputs import (
    NO_CORPUS,
    PassedOver,
    archive_reason,
    litter_reason,
    path_kind,
    refuse_records,
    unpacked_by,
)
from infoxlm_keras.text.readers.moses import MosesPairs
from infoxlm_keras.text.readers.names import moses_sides

ONE_SIDE = "its other side is missing"


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

    def entries(self) -> tuple[list[Entry], list[tuple[pathlib.Path, UnusableNameError]]]:
        """(list of `Entry`, list of (path, error) of the sides in folders whose other side is missing).

        Raises:
            UnusableNameError: for a side without the other that was given by its own name.
        """
        entries, alone = [], []
        for (folder, corpus, codes, name), sides in self.sides.items():
            if len(sides) == 2:
                (source, explicit), (target, _) = sides[0], sides[1]
                entries.append(Entry(MosesPairs(name, (str(source), str(target))), explicit, codes))
                continue
            ((number, (present, explicit)),) = sides.items()
            other = f"{folder / corpus}.{codes[1 - number]}"
            error = UnusableNameError(f"{present}: its other side {other} is not among the inputs; add it", ONE_SIDE)
            if explicit:
                raise error
            alone.append((present, error))
        return entries, alone


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
        UnusableNameError: for no pair at all.
        InputError: for an archive that is not safe.
    """
    path, problem = str(path), None
    sides: dict[tuple[str, tuple[str, str], str], dict[int, str]] = {}
    passed_over: list[PassedOver] = []
    for member in read_members(path):
        reason, place = litter_reason(member.filename), f"{path}: {member.filename}"
        try:
            found = None if reason else moses_sides(member.filename.rpartition("/")[2], place)
            name = found and pair_of(*found[1], place)
        except UnusableNameError as error:
            found, reason, problem = None, error.reason, problem or error
        side = None if found is None else found[2]
        if found is None or side is None or name is None:
            command = unpacked_by(member.filename)
            usual = archive_reason(command) if command else NO_CORPUS
            passed_over.append(PassedOver(path, reason or usual, member.filename))
            continue
        key = (member.filename.rpartition(".")[0], found[1], name)
        sides.setdefault(key, {})[side] = member.filename
    entries = []
    for (stem, codes, name), members in sides.items():
        if len(members) < 2:
            ((number, member_name),) = members.items()
            missing = f"{path}: holds only one side of {stem}, {stem}.{codes[1 - number]} is missing; fetch it again"
            problem = problem or UnusableNameError(missing, ONE_SIDE)
            passed_over.append(PassedOver(path, ONE_SIDE, member_name))
        elif wanted in (None, name):
            reader = MosesPairs(name, (path,), (members[0], members[1]))
            entries.append(Entry(reader, wanted is not None or len(sides) == 1, codes))
        else:
            passed_over += [PassedOver(path, f"not {wanted}", member) for member in members.values()]
    if not entries:
        names = [name for (_, _, name), members in sides.items() if len(members) == 2]
        if problem is not None and not names:
            raise problem
        held = ", ".join(names) or "no pair of files named X.<src>-<tgt>.<src>"
        missed = f", not {wanted}" if wanted else ""
        remedy = f"name one of these, as in {names[0]}={path}" if names else "unpack it, or leave it out"
        raise UnusableNameError(f"{path}: holds {held}{missed}; {remedy}", f"holds {held}{missed}")
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
            for path in split:
                refuse_records(path)
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
