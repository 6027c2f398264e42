"""SIGTERM and Ctrl-C: an exception where work can be given up, a short wait where it must not be cut."""

import contextlib
import os
import signal
from collections.abc import Iterator

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Terminated(KeyboardInterrupt):
    """SIGTERM came. A kind of `KeyboardInterrupt`, so that what cleans up after Ctrl-C does here too."""


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """The exit status that a shell gives a process that ended by this `KeyboardInterrupt`, int."""
    return STATUS[signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT]


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Context in which SIGTERM raises `Terminated`, as Ctrl-C raises `KeyboardInterrupt`."""

    def handle(number, frame):
        raise Terminated

    with _handlers({signal.SIGTERM: handle}):
        yield


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Context that SIGTERM and Ctrl-C do not interrupt: they are sent again when it has ended well.

    For short work that must be done whole. What the process does on the signal is then up to the handlers outside.
    An exception of the block passes alone, since it says more about what became of the work.
    """
    received = []

    def handle(number, frame):
        received.append(number)

    with _handlers({number: handle for number in STATUS}):
        yield
    for number in dict.fromkeys(received):
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def _handlers(handlers):
    """Context with other signal handlers; without effect in a thread other than the main one, which allows none."""
    previous = {}
    try:
        for number, handle in handlers.items():
            try:
                previous[number] = signal.signal(number, handle)
            except ValueError:
                break
        yield
    finally:
        for number, handle in previous.items():
            signal.signal(number, handle)
