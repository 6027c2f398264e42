"""Directories under a name that every library can open.

TensorFlow's checkpoint reader takes `[`, `]`, `*` and `?` in a path for a pattern (tensorflow#34290). Libraries
in C++ take paths in UTF-8 only, while a file name may be any bytes. A symbolic link with a plain name leads to
the same files, of any size, without a copy.
"""

import contextlib
import os
import re
import tempfile

# What no library reads as anything but itself.
PLAIN_PATH = re.compile(r"[\w/.,:=+@%~ -]*")


@contextlib.contextmanager
def plain_directory(directory):
    """Yields a path (str) of `directory` for libraries that cannot open every name.

    Args:
        directory: str or path of an existing directory.

    Yields:
        str: `directory` itself if its name is plain, else a link to it that lasts as long as the block.

    Example:
    ```python
    with plain_directory("runs/moved [v2]/1") as plain:
        loaded = tf.saved_model.load(plain)
    ```
    """
    path = os.path.abspath(directory)
    if is_plain(path):
        yield path
        return
    parent = next((name for name in (tempfile.gettempdir(), "/tmp", "/var/tmp") if is_plain(name)), None)
    with tempfile.TemporaryDirectory(prefix="infoxlm-", dir=parent) as scratch:
        link = os.path.join(scratch, "directory")
        os.symlink(path, link, target_is_directory=True)
        yield link


def is_plain(path):
    """Whether `path` (str) is UTF-8 and holds no character that a library reads as a pattern."""
    # Undecodable bytes are lone surrogates, which are no word characters.
    return PLAIN_PATH.fullmatch(path) is not None
