"""Calls a function with a time limit that holds for the whole call."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def bounded(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns `function(*arguments)`, or gives up after `seconds`.

    The time-out of a socket limits each wait for bytes, so an answer that arrives byte by byte never exceeds it. A
    call that is given up continues in a daemon thread, which ends with the process at the latest.

    Args:
        seconds: float.
        function: callable.

    Raises:
        TimeoutError: if the call takes longer. Exceptions of `function` are raised here too.
    """
    results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run():
        try:
            results.put((function(*arguments), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=max(seconds, 0))
    except queue.Empty:
        raise TimeoutError(f"no result in {seconds:g} s") from None
    if error is not None:
        raise error
    return result
