"""The result of discovery: readers, ignored files, and the lines that a command prints about both."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

from infoxlm_keras.text.languages import UnusableNameError
from infoxlm_keras.text.readers.inputs import GivenOnce, PassedOver, named, printable
from infoxlm_keras.text.readers.reader import Reader, texts_of

# Names of each reason that are printed; the manifest of a build has them all.
MOST_NAMES = 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """A reader, and how it was found.

    Attributes:
        reader: a reader.
        explicit: bool, whether the text was given by its own name, so that a command insists on it; false for one of
            many in a folder, an archive or a translation memory.
        codes: tuple of str or None, the language, or the two of a pair, as the name spells them.
    """

    reader: Reader
    explicit: bool = True
    codes: tuple[str, ...] | None = None


class Found(list[Reader]):
    """List of readers, sorted by name.

    Args:
        entries: iterable of `Entry`.
        passed_over: iterable of `PassedOver`.

    Attributes:
        entries: list of `Entry`, in the order of the readers.
        passed_over: list of `PassedOver`, sorted.
    """

    def __init__(self, entries: Iterable[Entry] = (), passed_over: Iterable[PassedOver] = ()) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.reader.name)
        super().__init__(entry.reader for entry in self.entries)
        self.passed_over = sorted(passed_over, key=lambda item: (item.path, item.member or "", item.reason))

    @property
    def explicit(self) -> list[bool]:
        """List of bool, one a reader: `Entry.explicit`."""
        return [entry.explicit for entry in self.entries]

    def report(self) -> list[str]:
        """List of str, for people: what was taken, and what was left."""
        streams = collections.Counter(reader.name for reader in self)
        names = ", ".join(f"{name} ({number:,})" if number > 1 else name for name, number in streams.items())
        taken = f"taken: {len(self):,} text{'' if len(self) == 1 else 's'}: {names}"
        return [taken, *self._joined(), *describe(self.passed_over)]

    def _joined(self):
        """List of str: the files of one folder that have several codes, but one name."""
        groups: dict[tuple[str, pathlib.Path], dict[str, str]] = {}
        for entry in self.entries:
            if entry.codes:
                file = pathlib.Path(entry.reader.files[-1])
                spelled = "-".join(code.replace("-", "_").lower() for code in entry.codes)
                group = groups.setdefault((entry.reader.name, file.parent), {})
                group.setdefault(spelled, f"{'-'.join(entry.codes)} ({printable(file.name)})")
        return [
            f"joined as {name}: {', '.join(text for _, text in sorted(shown.items()))}"
            for (name, _), shown in groups.items()
            if len(shown) > 1
        ]


def found_in_folders(
    folders: Iterable[pathlib.Path],
    entries: Sequence[Entry],
    passed_over: Sequence[PassedOver],
    unusable: Sequence[tuple[pathlib.Path, UnusableNameError]],
) -> Found:
    """`Found`, in which the files of folders whose languages cannot be known are passed over.

    Args:
        folders: list of path, as given.
        entries: list of `Entry`.
        passed_over: list of `PassedOver`.
        unusable: list of (path, `UnusableNameError`).

    Raises:
        UnusableNameError: for a folder of which nothing else is left.
        InputError: for two readers of one text.
    """
    given = GivenOnce()
    for entry in entries:
        for text in texts_of(entry.reader):
            given.check_text(text)
    taken = [pathlib.Path(file) for entry in entries for file in entry.reader.files]
    for folder in folders:
        problems = [error for path, error in unusable if path.is_relative_to(folder)]
        if problems and not any(path.is_relative_to(folder) for path in taken):
            more = f" (and so are {len(problems) - 1:,} more files in {folder})" if len(problems) > 1 else ""
            raise UnusableNameError(f"{problems[0]}{more}", problems[0].reason)
    return Found(entries, [*passed_over, *(PassedOver(str(path), error.reason) for path, error in unusable)])


def describe(passed_over: Iterable[PassedOver]) -> list[str]:
    """List of str to print: a line for each reason to pass over files, with their number and names.

    Args:
        passed_over: list of `PassedOver`.
    """
    reasons: dict[str, list[PassedOver]] = {}
    for item in passed_over:
        reasons.setdefault(item.reason, []).append(item)
    return [
        f"passed over, {reason}: {len(items):,}: {named(items, MOST_NAMES)}"
        for reason, items in sorted(reasons.items())
    ]
