"""Describes errors of the operating system, from any library, in one sentence with the remedy."""

import errno
import os
import re
import resource

from infoxlm_keras.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries in other languages hand the system's error on as text: "(os error 28)", "errno = 28", or its words.
_NUMBER = re.compile(r"\b(?:os error|errno)\b[ =:]*(\d+)", re.IGNORECASE)
_WORDS = {os.strerror(number).lower(): number for number in (*_FULL, errno.EROFS)}
# All that NumPy says about a full disk.
_SHORT = re.compile(r"\d+ requested and \d+ written")
# How they name the file: h5py, TensorFlow.
_NAMES = (re.compile(r"\bname = '([^']+)'"), re.compile(r"(/[^;:\n]+); "))
_MEMORY = re.compile(
    r"OOM when allocating|out of memory|failed to allocate memory|can't allocate memory", re.IGNORECASE
)
_ELSEWHERE = "or choose another output folder"
_SENTENCES = {
    errno.ENOSPC: f"no space left on device; free some space {_ELSEWHERE}",
    errno.EDQUOT: f"the disk quota is used up; free some space {_ELSEWHERE}",
    errno.EFBIG: f"would be larger than a file may be here; raise the limit (ulimit -f) {_ELSEWHERE}",
    errno.ENOENT: "no such file or directory",
    errno.EISDIR: "is a directory, not a file",
    errno.ENOTDIR: "is a file where a directory is needed, or lies below one",
    errno.EEXIST: "exists already",
    errno.ELOOP: "is a symbolic link that leads back to itself",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
}


def describe_os_error(error: OSError) -> str:
    """One sentence with the file and the remedy for an `OSError`."""
    name = error.filename if error.filename is not None else "output"
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{name}: permission denied; check the owner of the file or choose another directory"
    return f"{name}: {_SENTENCES.get(error.errno or 0) or error.strerror or error}"


def system_error_within(error: BaseException) -> OSError | None:
    """The `OSError` that `error` is, or that a library reports in its own way; None if it is something else.

    Args:
        error: exception; those that it was raised from, or while handling which, are looked at too. Of these only a
            full disk counts, and a read-only one.

    Returns:
        OSError with `errno`, and with `filename` where it is known; or None.
    """
    if isinstance(error, OSError) and (error.filename is not None or error.errno not in (None, *_FULL)):
        return error
    for each in _chain(error):
        number = _number(each)
        if number in _WORDS.values():
            return OSError(number, os.strerror(number), _name(each))
    return error if isinstance(error, OSError) else None


def full_disk_within(error: BaseException) -> OSError | None:
    """The `OSError` of `system_error_within`, if it says that the disk is full or a file may not become so large.

    An `InputError` has its own words, and is none.
    """
    found = None if isinstance(error, InputError) else system_error_within(error)
    return found if found is not None and found.errno in _FULL else None


def memory_error_within(error: BaseException) -> bool:
    """Whether `error` says that memory could not be allocated, in Python's, NumPy's or a backend's way."""
    return isinstance(error, MemoryError) or (
        type(error).__name__
        in ("ResourceExhaustedError", "XlaRuntimeError", "JaxRuntimeError", "OutOfMemoryError", "RuntimeError")
        and bool(_MEMORY.search(str(error)))
    )


def _chain(error):
    """`error` and those behind it."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def _number(error):
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    text = str(error)
    found = _NUMBER.search(text)
    if found:
        return int(found[1])
    if _SHORT.search(text):
        return errno.ENOSPC if resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY else errno.EFBIG
    return next((number for words, number in _WORDS.items() if words in text.lower()), None)


def _name(error):
    filename = getattr(error, "filename", None)
    if filename is not None:
        return filename
    return next((found[1] for found in (pattern.search(str(error)) for pattern in _NAMES) if found), None)
