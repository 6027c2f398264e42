"""A call that takes no longer than it may, whatever it waits for."""

import queue
import threading
from collections.abc import Callable
from typing import Any


def bounded(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)`, given up after `seconds`.

    The time-outs of sockets bound each wait for bytes: an answer that arrives byte by byte never exceeds one. A call
    that is given up goes on in a thread that ends with the process, at the latest.

    Args:
        seconds: float.
        function: callable.

    Raises:
        TimeoutError: if it has not come back. What `function` raises is raised here.
    """
    results = queue.SimpleQueue()

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
