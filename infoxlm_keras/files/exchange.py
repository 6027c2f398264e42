"""Two names exchanged in one operation of the file system."""

import ctypes
import functools
import os
import sys

from infoxlm_keras.annotations import PathLike

_CURRENT_DIRECTORY, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of <linux/fs.h>


def exchange(one: PathLike, other: PathLike) -> bool:
    """Exchanges two paths that exist, so that no moment is without either. False where the system cannot."""
    rename = _renameat2()
    if rename is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return rename(_CURRENT_DIRECTORY, names[0], _CURRENT_DIRECTORY, names[1], _EXCHANGE) == 0


@functools.cache
def _renameat2():
    """Linux' call, from glibc 2.28 on; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    found = getattr(ctypes.CDLL(None), "renameat2", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return found
