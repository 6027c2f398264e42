"""A limit on the size of files."""

import contextlib
import resource


@contextlib.contextmanager
def largest_file(size):
    """Files written within cannot grow above `size` bytes (`ulimit -f`)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
