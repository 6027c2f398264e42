"""SIGTERM and Ctrl-C: an exception where work can be given up, a short wait where it must not be cut."""

import contextlib
import os
import signal

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


class Terminated(KeyboardInterrupt):
    """SIGTERM came. A kind of `KeyboardInterrupt`, so that what cleans up after Ctrl-C does here too."""


def exit_status(interrupt):
    """The exit status that a shell gives a process that ended by this `KeyboardInterrupt`, int."""
    return STATUS[signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT]


@contextlib.contextmanager
def termination_raises():
    """Context in which SIGTERM raises `Terminated`, as Ctrl-C raises `KeyboardInterrupt`."""

    def handle(number, frame):
        raise Terminated

    with _handlers({signal.SIGTERM: handle}):
        yield


@contextlib.contextmanager
def signals_wait():
    """Context that SIGTERM and Ctrl-C do not interrupt: they are sent again when it ends, well or with an exception.

    For short work that must be done whole. What the process does on the signal is then up to the handlers outside.
    """
    received = []

    def handle(number, frame):
        received.append(number)

    try:
        with _handlers({number: handle for number in STATUS}):
            yield
    finally:
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
