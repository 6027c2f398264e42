"""Command-line inputs as paths: `NAME=PATH`, files, and the files in folders, checked before anything is read."""

import dataclasses
import errno
import os
import pathlib
import re
import shlex
import stat
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.compression import compression_ending, decompressed_by
from infoxlm_keras.text.languages import UnusableNameError
from infoxlm_keras.text.readers.reader import Text

WINDOWS_FILES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin")
NO_CORPUS = "not named like a corpus"
WITH_TEXTS = (
    "folder that holds such files, at some depth: subfolders are not searched, give the folder that they lie in"
)
# Names in a subfolder that are looked at for this advice.
MOST_LOOKED_AT = 10_000
# Endings that name a format, whatever their case.
FORMAT_ENDINGS = ("txt", "tsv", "csv", "tmx", "jsonl", "parquet", "po", "zip")
# Formats with records: their lines are not sentences.
RECORD_ENDINGS = (".jsonl", ".json", ".tmx", ".xml", ".sgm", ".sgml", ".html", ".xlf", ".po", ".parquet", ".arrow")
BACKUP_ENDINGS = ("~", ".bak", ".orig", ".swp", ".swo")


# Archives by the ending of their names, and what unpacks them.
UNPACKED_BY = (
    (re.compile(r"\.(tar(\.[a-z0-9]{1,4})?|tgz|taz|tbz2?|txz|tlz|tzst)", re.IGNORECASE), "tar -xf"),
    (re.compile(r"\.(zip|zipx)", re.IGNORECASE), "unzip"),
    (re.compile(r"\.7z", re.IGNORECASE), "7z x"),
    (re.compile(r"\.rar", re.IGNORECASE), "unrar x"),
)


@dataclasses.dataclass(frozen=True)
class Input:
    """One input as given.

    Attributes:
        address: str, a path, or `tfds:...`.
        name: str or None, the language or pair written before it.
    """

    address: str
    name: str | None


def parse_input(item: PathLike | bytes, name_pattern: re.Pattern[str]) -> Input:
    """`Input` of one command-line input (str or path): `NAME=ADDRESS` or `ADDRESS`.

    Args:
        item: str, path, or bytes (a path that is not UTF-8).
        name_pattern: compiled regular expression that a whole name matches.

    Raises:
        InputError: for an empty address, which would stand for the folder that the command runs in.
    """
    text = os.fsdecode(item)
    name, equals, address = text.partition("=")
    if not text or (equals and not address and not os.path.lexists(text)):
        raise InputError(f"--input {text!r}: does not name a file or folder; give a path")
    if "\0" in text:
        raise InputError(f"--input {text!r}: holds a NUL character, which a path cannot hold")
    # A file whose own name has an equals sign is a file.
    if equals and name_pattern.fullmatch(name) and not os.path.lexists(text):
        return Input(address, name)
    return Input(text, None)


@dataclasses.dataclass(frozen=True)
class PassedOver:
    """A file, folder or member of an archive that a command does not read.

    Attributes:
        path: str.
        reason: str.
        member: str or None, its name inside the archive `path`.
    """

    path: str
    reason: str
    member: str | None = None

    @property
    def name(self) -> str:
        """str: the last part of the path, and the member's name after it; unprintable characters are escaped."""
        base = printable(os.path.basename(self.path.rstrip(os.sep)))
        return base if self.member is None else f"{base}: {printable(self.member)}"


def named(passed_over: Sequence[PassedOver], most: int = 20) -> str:
    """`a.bin, b.bin` (str): the names of a list of `PassedOver`, at most `most`, and how many more there are."""
    names = [item.name for item in passed_over]
    return ", ".join([*names[:most], *([f"and {len(names) - most:,} more"] if len(names) > most else [])])


def printable(text: str) -> str:
    """`text` (str) with what cannot be written escaped: control characters, and bytes of a path that are not UTF-8."""
    text = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def litter_reason(name: str) -> str | None:
    """Why a file of this name (str, with `/` between folders) is no text in spite of its ending; None if it may be.

    Finder and Windows leave their own files in folders and archives; editors leave backups.
    """
    for part in name.split("/"):
        if part == "__MACOSX" or part.startswith("._") or part == ".DS_Store":
            return "left by macOS"
        if part.startswith(".") and part not in (".", ".."):
            return "hidden"
        if part.lower() in WINDOWS_FILES:
            return "left by Windows"
        if part.endswith(BACKUP_ENDINGS) or part.startswith("#") and part.endswith("#") or part.startswith("~$"):
            return "backup of an editor"
    return None


def unpacked_by(path: PathLike) -> str | None:
    """The command (str, such as `tar -xf`) that unpacks `path`, if its name is that of an archive; else None."""
    name = os.path.basename(os.fsdecode(path))
    for ending, command in UNPACKED_BY:
        if any(ending.fullmatch(name, start) for start, character in enumerate(name) if character == "."):
            return command
    return None


def refuse_archive(path: PathLike) -> None:
    """Raises `UnusableNameError` if `path` is named like an archive: the error says how to unpack it."""
    if command := unpacked_by(path):
        raise UnusableNameError(
            f"{path}: is an archive, which is not read as it is; unpack it with "
            f"`{command} {shlex.quote(printable(os.fsdecode(path)))}`, and give the files or the folder that come out",
            archive_reason(command),
        )


def refuse_compressed(path: PathLike) -> None:
    """Raises `UnusableNameError` if `path`, of a format that is read uncompressed only, is named as compressed."""
    name = os.fsdecode(path)
    if command := decompressed_by(name):
        ending = pathlib.Path(plain_name(name)).suffix
        raise UnusableNameError(
            f"{path}: is compressed, and a {ending} file is read uncompressed only; run `{command} "
            f"{shlex.quote(printable(name))}`, and give the file that comes out",
            f"a compressed {ending} file, which is read uncompressed only: run `{command} FILE`",
        )


def archive_reason(command: str) -> str:
    """Why an archive is passed over (str); `command` unpacks it."""
    return f"an archive: unpack it with `{command} FILE`"


def path_kind(path: PathLike) -> Literal["file", "folder"] | None:
    """`"file"`, `"folder"`, or None where nothing is there.

    Raises:
        InputError: for a loop of symbolic links, a link to nothing, and what is neither file nor folder (a FIFO would
            wait for ever).
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path}: is a loop of symbolic links; remove it, or name the file itself") from None
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{path}: is longer than a file name may be") from None
        if error.errno == errno.EACCES:
            raise InputError(f"{path}: permission denied; change its or its folder's mode") from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        if os.path.islink(path):
            raise InputError(f"{path}: is a symbolic link to nothing; remove it, or name the file itself") from None
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISREG(mode):
        return "file"
    raise InputError(f"{path}: is neither a file nor a folder; write its content into a file first")


def folder_files(
    folder: PathLike,
    wanted: Callable[[str], bool],
    names: str,
    reasons: Mapping[str, str] | None = None,
    required: bool = True,
) -> tuple[list[pathlib.Path], list[PassedOver]]:
    """Lists the files in a folder whose plain names are wanted, and the other files.

    Args:
        folder: path.
        wanted: callable, plain name (str) -> bool.
        names: str, what is looked for.
        reasons: dict of plain name to str, why a file that is not wanted is none; None for nothing to say.
        required: bool, whether a folder without any such file is an error.

    Returns:
        (list of path, list of `PassedOver`), both sorted by name.

    Raises:
        InputError: if no file is wanted although one is required, naming what is there instead; as `path_kind`; and
            for a folder that is named like a file.
    """
    paths, passed_over, reasons = [], [], reasons or {}
    for name in sorted(os.listdir(folder)):
        path = pathlib.Path(folder) / name
        reason = litter_reason(name)
        if reason is None and wanted(plain_name(name)):
            if path_kind(path) == "folder":
                raise InputError(f"{path}: is named like a file but is a folder; rename it, or name its files")
            paths.append(path)
        else:
            command = unpacked_by(name)
            usual = archive_reason(command) if command else NO_CORPUS
            other = _folder_reason(path, wanted) if os.path.isdir(path) else reasons.get(plain_name(name), usual)
            passed_over.append(PassedOver(str(path), reason or other))
    if required and not paths:
        advice = {*reasons.values(), WITH_TEXTS, *(archive_reason(command) for _, command in UNPACKED_BY)}
        known = sorted({item.reason for item in passed_over} & advice)
        held = "; ".join([*([f"it holds only {named(passed_over)}"] if passed_over else []), *known])
        raise InputError(f"{folder}: holds no file named {names}{f'; {held}' if held else ''}")
    return paths, passed_over


def _folder_reason(folder, wanted):
    """Why a folder in a folder is passed over: with advice, if files that are wanted lie in it at any depth."""
    looked_at = 0
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if litter_reason(name) is None]
        looked_at += len(folders) + len(names)
        if any(litter_reason(name) is None and wanted(plain_name(name)) for name in names):
            return WITH_TEXTS
        if looked_at > MOST_LOOKED_AT:
            break
    return "folder"


def plain_name(path: PathLike) -> str:
    """The file's name without the ending of its compression, and the ending of its format in lower case.

    `EN-DE.TSV.GZ` is `EN-DE.tsv`. Other endings stay as they are: `X.EN-DE.EN` ends with a language.
    """
    name = pathlib.Path(path).name
    compression = compression_ending(name)
    if compression is not None and len(name) > len(compression):
        name = name[: -len(compression)]
    stem, dot, ending = name.rpartition(".")
    return f"{stem}.{ending.lower()}" if dot and ending.lower() in FORMAT_ENDINGS else name


def refuse_records(path: PathLike) -> None:
    """Raises `InputError` if the ending of `path` is that of a format with records instead of lines of text."""
    ending = pathlib.Path(plain_name(path)).suffix.lower()
    if ending in RECORD_ENDINGS:
        raise InputError(
            f"{path}: a {ending} file holds no plain lines; write its sentences into a text file, one a line"
        )


class GivenOnce:
    """Refuses a text that is given a second time: `de.txt` beside `de.txt.gz`, a file along with its folder, or a file
    under two names."""

    def __init__(self) -> None:
        self.seen: set[Hashable] = set()

    def check(self, path: PathLike) -> None:
        """Raises `InputError` if `path` was here before."""
        self._check(path, _identity(path))

    def check_text(self, text: Text) -> None:
        """Raises `InputError` if the `Text` was here before, under whatever name; apart from what `check` gets."""
        self._check(text.files[0], (frozenset(map(_identity, text.files)), text.part))

    def _check(self, path, key):
        if key in self.seen:
            raise InputError(f"{path}: is given twice, perhaps with another ending; give each text once")
        self.seen.add(key)


def _identity(path):
    """The path with links followed, without the ending of a compression."""
    # Not Path.resolve, which raises on a loop of links.
    return pathlib.Path(os.path.realpath(path)).parent / plain_name(path)
