"""The result of discovery: readers, ignored files, and the lines that a command prints about both."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING

from infoxlm_keras.text.readers.inputs import named
from infoxlm_keras.text.readers.reader import Reader

if TYPE_CHECKING:
    from infoxlm_keras.text.readers.inputs import PassedOver

# Names of each reason that are printed; the manifest of a build has them all.
MOST_NAMES = 20


@dataclasses.dataclass(frozen=True)
class Entry:
    """A reader, and how it was found.

    Attributes:
        reader: a reader.
        explicit: bool, whether the text was given by its own name, so that a command insists on it; false for one of
            many in a folder, an archive or a translation memory.
        codes: tuple of two str or None, the languages of a pair as the name spells them.
    """

    reader: Reader
    explicit: bool = True
    codes: tuple[str, str] | None = None


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
        return [f"taken: {len(self):,} text{'' if len(self) == 1 else 's'}: {names}", *describe(self.passed_over)]


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
