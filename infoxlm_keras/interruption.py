"""SIGTERM and Ctrl-C: they raise an exception while output is made and wait while a model is saved."""

import contextlib
import os
import signal
from collections.abc import Iterator

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. A subclass of `KeyboardInterrupt`, so that the same clean-up runs as after Ctrl-C."""


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """The exit status that a shell gives a process that ended by this `KeyboardInterrupt`, int."""
    return STATUS[signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT]


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Context in which SIGTERM raises `Terminated`, as Ctrl-C raises `KeyboardInterrupt`.

    It changes nothing where SIGTERM is handled already, as in pre-training.
    """

    def handle(number, frame):
        raise Terminated

    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    with _handlers({signal.SIGTERM: handle}):
        yield


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Context that SIGTERM and Ctrl-C do not interrupt: they are sent again after it has ended without an exception.

    For short work that must not be interrupted. The handlers outside of the context then receive the signals. If the
    block raises an exception, only the exception is passed on, since it says more about the state of the work.
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
    """Context with other signal handlers; without effect outside of the main thread, where Python forbids it."""
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
