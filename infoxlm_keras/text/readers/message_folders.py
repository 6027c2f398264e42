"""The folders of gettext: `de/LC_MESSAGES/app.po`, where the language is the name of a folder.

LC_MESSAGES/app.po, de/LC_MESSAGES/app.po, locale/de/LC_MESSAGES/app.po      below the folder that is given
"""

import os
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.text.readers.inputs import PassedOver, litter_reason

MESSAGES = "LC_MESSAGES"
CATALOG = ".po"
# How deep below a folder the folders of messages are looked for.
PATTERNS = (MESSAGES, f"*/{MESSAGES}", f"*/*/{MESSAGES}")


def folder_code(path: PathLike) -> str | None:
    """The code of a language (str) that gettext's folders give the catalog `path`; None if it lies in other folders.

    Example:
    ```python
    folder_code("locale/pt_BR/LC_MESSAGES/app.po")  # "pt_BR"
    ```
    """
    folder = pathlib.Path(os.path.abspath(path)).parent
    return folder.parent.name if folder.name == MESSAGES else None


def find_message_folders(folder: pathlib.Path) -> tuple[list[pathlib.Path], set[pathlib.Path], list[PassedOver]]:
    """The folders with gettext's messages below `folder` (path).

    Returns:
        (sorted list of the folders that hold catalogs; set of these and the folders between; list of `PassedOver`:
        what else is in the folders between).
    """
    found = sorted(path for pattern in PATTERNS for path in folder.glob(pattern) if _is_messages(path, folder))
    between = {parent for path in found for parent in path.parents if folder in parent.parents}
    others = []
    for parent in sorted(between):
        for name in sorted(os.listdir(parent)):
            path = parent / name
            if path not in between and path not in found:
                reason = "folder" if path.is_dir() else "beside the folders of gettext"
                others.append(PassedOver(str(path), litter_reason(name) or reason))
    return found, between | {*found}, others


def _is_messages(path, folder):
    """Whether `path` is a folder with catalogs; links could lead to the same catalogs again."""
    parts = [path, *(parent for parent in path.parents if folder in parent.parents)]
    if any(litter_reason(part.name) or part.is_symlink() for part in parts) or not path.is_dir():
        return False
    return any(name.endswith(CATALOG) and not litter_reason(name) for name in os.listdir(path))
