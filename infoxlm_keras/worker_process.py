"""What a worker process of `worker_pool` runs."""

import multiprocessing
import multiprocessing.connection
import os
import pickle
import threading
import traceback

from infoxlm_keras.errors import InputError


def work(connection: multiprocessing.connection.Connection) -> None:
    """Receives a function, then items; sends (True, result) or (False, exception) for each, until the pipe is closed.

    Args:
        connection: `multiprocessing.connection.Connection`; the other end is in the main process alone.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function = _Function(connection.recv_bytes())
        while True:
            connection.send_bytes(function.answer(connection.recv_bytes()))
    except (EOFError, OSError):
        # The main process has closed its end, or is gone.
        return


class _Function:
    """A pickled function, read back at its first call, so that an error in that is an answer like any other."""

    def __init__(self, pickled):
        self._pickled, self._function = pickled, None

    def answer(self, item):
        """The pickled answer to a pickled item."""
        try:
            if self._function is None:
                self._function = pickle.loads(self._pickled)
            return pickle.dumps((True, self._function(*pickle.loads(item))), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            return _pickled_error(error)


def _pickled_error(error):
    if not isinstance(error, (InputError, OSError)):
        error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)))
    try:
        pickled = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
        # Some exceptions can be pickled and not read back.
        pickle.loads(pickled)
        return pickled
    except Exception:
        return pickle.dumps((False, RuntimeError("".join(traceback.format_exception(error)))))


def _end_with_parent():
    """Ends this process when the main process dies while work is under way here."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a worker process only"
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
