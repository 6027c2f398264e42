"""How a process of a run ends when something goes wrong: at once, so that the others do not wait for it."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

from infoxlm_keras.command_line import describe_error, report

# What a process lacks when another one has gone, as the libraries below JAX and PyTorch say it.
LOST_PEER = (
    "gloo",
    "connection closed by peer",
    "connection reset by peer",
    "nccl",
    "coordination service",
    "tcpstore",
)


@contextlib.contextmanager
def ending_at_once() -> Iterator[None]:
    """Context in which what goes wrong is reported, and ends this process at once.

    Otherwise it would wait at its end for the others, which wait for it in the next step, until the library below
    ends them all after minutes.
    """
    try:
        yield
    except BaseException as error:
        status = _status(error)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _status(error):
    """Prints what is wrong; the exit status."""
    if isinstance(error, SystemExit):
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
            return 1
        return error.code or 0
    if isinstance(error, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    text = str(error).lower()
    if isinstance(error, Exception):
        message = describe_error(error)
        if message is not None:
            return report(message)
        if any(word in text for word in LOST_PEER):
            return report(
                "another process of the run has ended or cannot be reached (its own messages say why); start all "
                "processes again, and the run continues from its newest checkpoint "
                f"({str(error).splitlines()[0]:.200})"
            )
    traceback.print_exception(error)
    return 1
