"""Large pages for the arrays of a training process on a CPU.

A compiled step asks the C library for its temporaries and gives them back, each time: gigabytes, which Linux maps
anew in pages of 4 KiB. In pages of 2 MiB a step on JAX takes 14 to 20% less time (`benchmarks/README.md`). Many
systems use these only where a program asks for them. glibc asks from version 2.35 on, if a variable says so when the
process starts. So a training command sets the variable and starts its program again, in the same process.
"""

import contextlib
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Mapping

PACKAGE = "infoxlm_keras"
TUNABLES = "GLIBC_TUNABLES"
LARGE_PAGES = "glibc.malloc.hugetlb"
FIRST_VERSION = (2, 35)
# The kernel's word on large pages: "always [madvise] never", with the one in force in brackets.
KERNEL_SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Where one of these is, training leaves the host's memory alone.
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio/vfio")


def restart_with_large_pages(script: str | None = None) -> None:
    """Replaces this process's program by the same one with large pages; returns where that is not to be done.

    The process keeps its number, arguments, standard streams and environment; call this before anything is read or
    written. Not to be done: with an accelerator, outside of Linux with glibc 2.35, where the kernel gives large pages
    to all or to none, where `GLIBC_TUNABLES` has the setting already (`glibc.malloc.hugetlb=0` leaves it off), under a
    debugger, and in a program that is not one of this package's own: another one may have done something already, or
    have been read from a pipe.

    Args:
        script: str, the `__file__` of a script that does nothing before; None for `infoxlm` and
            `python -m infoxlm_keras`.
    """
    value = tunables_with_large_pages(os.environ, _in_force(KERNEL_SETTING), _glibc_version())
    watched = sys.gettrace() is not None or sys.getprofile() is not None
    if value is None or watched or not sys.executable or accelerated() or not _is_program(script):
        return
    # Where the system refuses, training goes on without.
    with contextlib.suppress(OSError):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, TUNABLES: value})


def _is_program(script):
    """Whether this process was started as `script`, as `infoxlm` or as `python -m infoxlm_keras`."""
    # Children that multiprocessing starts have the main module of their parent.
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        return False
    main = sys.modules["__main__"]
    arguments = sys.orig_argv[1:]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        as_module = ("-m", PACKAGE) in itertools.pairwise(arguments) or f"-m{PACKAGE}" in arguments
        return script is None and as_module and spec.name == f"{PACKAGE}.__main__"
    file = getattr(main, "__file__", None)
    started = next(filter(os.path.exists, arguments), None)
    # A pipe is no regular file, and a script may be run by another.
    if file is None or started is None or not os.path.isfile(file) or not os.path.samefile(file, started):
        return False
    return os.path.basename(file) == "infoxlm" if script is None else os.path.samefile(file, script)


def accelerated() -> bool:
    """bool: this machine has the device files of a GPU or of a TPU."""
    return any(map(os.path.exists, ACCELERATORS))


def tunables_with_large_pages(variables: Mapping[str, str], kernel: str, glibc: tuple[int, ...]) -> str | None:
    """What `GLIBC_TUNABLES` must be for large pages; None if there is nothing to be done.

    Args:
        variables: of the environment.
        kernel: str, the kernel's setting for large pages, "always", "madvise" or "never"; "" if it has none.
        glibc: (major, minor) of the C library; () if it is another.

    >>> tunables_with_large_pages({"GLIBC_TUNABLES": "glibc.malloc.perturb=1"}, "madvise", (2, 36))
    'glibc.malloc.perturb=1:glibc.malloc.hugetlb=1'
    >>> tunables_with_large_pages({}, "always", (2, 36)) is None
    True
    """
    given = variables.get(TUNABLES, "")
    if kernel != "madvise" or glibc < FIRST_VERSION or LARGE_PAGES in given:
        return None
    return ":".join(filter(None, (given, f"{LARGE_PAGES}=1")))


def _in_force(setting):
    """The word in brackets in the file `setting`; "" without one."""
    try:
        found = re.search(r"\[(\w+)\]", setting.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def _glibc_version():
    """(major, minor); () on other C libraries."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ()
    numbers = re.findall(r"\d+", version)
    return tuple(map(int, numbers[:2])) if name == "glibc" else ()
