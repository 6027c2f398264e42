"""What the file system refuses, as `OSError` with its number, whichever library met it."""

import contextlib
import errno
import os
import sys

# What a write can meet. TensorFlow puts the operating system's words into errors of its own kinds.
REFUSALS = (
    errno.ENOSPC,
    errno.EFBIG,
    errno.EDQUOT,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.EMFILE,
)


@contextlib.contextmanager
def writing(path):
    """Raises `OSError`, with `path` as its file, for what the file system refuses to TensorFlow in the block.

    Args:
        path: str or path that is written; commands name it in their message.

    Raises:
        OSError: with the number and the words of the operating system. Other exceptions pass unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    except Exception as error:
        # Whoever raises an error of TensorFlow's has imported it; this module need not.
        tensorflow = sys.modules.get("tensorflow")
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            raise
        for number in REFUSALS:
            if os.strerror(number) in str(error):
                raise OSError(number, os.strerror(number), str(path)) from None
        raise
