"""Which files this process opens."""

import contextlib
import os
import sys

# (file name, list to fill) of each `opened_files` that is active.
_active = []


def _note(event, details):
    # A file that is opened by its number has an int.
    if event == "open" and _active and isinstance(details[0], str | os.PathLike):
        for name, found in _active:
            if os.path.basename(details[0]) == name:
                found.append(os.fspath(details[0]))


@contextlib.contextmanager
def opened_files(name):
    """List of the paths of files called `name` (str) that are opened within the block, by any library."""
    # An audit hook cannot be removed, so one is added at the first use.
    if not hasattr(opened_files, "hooked"):
        opened_files.hooked = sys.addaudithook(_note)
    entry = (name, [])
    _active.append(entry)
    try:
        yield entry[1]
    finally:
        _active.remove(entry)
