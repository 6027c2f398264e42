"""A function on many items at once, results in the items' order."""

import collections
import concurrent.futures
import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import types
from collections.abc import Callable, Generator, Iterable
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.interruption import signals_wait
from infoxlm_keras.worker_process import work

# Items a worker may be ahead of the consumer: bounds memory, and hides uneven items.
ITEMS_AHEAD = 3
# A worker without work ends at once; if it does not, it is killed after this number of seconds.
SECONDS_TO_END = 5


class WorkerDiedError(InputError):
    """A worker process was ended from outside; the input may be in order."""


def available_processes() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[..., Any], items: Iterable[tuple[Any, ...]], processes: int
) -> Generator[tuple[tuple[Any, ...], Any], None, None]:
    """Yields (item, `function(*item)`) for each of `items`, in their order, worked on by `processes` processes.

    What is yielded or raised does not depend on `processes`: an error in an item is raised after the results before
    it, and an error of the iterable `items` itself after the results of what it gave. Workers end with the generator,
    and with this process, however it ends.

    Args:
        function: picklable callable; each worker process gets it once.
        items: iterable of tuples, picklable; consumed a few items ahead of the results.
        processes: int >= 1; with 1 all is done in this process.

    Raises:
        WorkerDiedError: if a worker process dies, at whatever moment.
    """
    if processes == 1:
        for item in items:
            yield item, function(*item)
        return
    with contextlib.closing(_Pool(function, processes)) as pool:
        yield from _map_on(pool, iter(items), processes * ITEMS_AHEAD)
        pool.end()


def _map_on(pool, items, most_pending):
    pending: collections.deque[tuple[Any, concurrent.futures.Future[Any]]] = collections.deque()
    failure = None
    while True:
        try:
            while len(pending) < most_pending:
                item = next(items)
                pending.append((item, pool.submit(item)))
        except StopIteration:
            break
        except InputError as error:
            failure = error
            break
        item, future = pending.popleft()
        yield item, future.result()
    for item, future in pending:
        yield item, future.result()
    if failure:
        raise failure


class _Pool:
    """Worker processes, each served by a thread of its own over a pipe of its own.

    `concurrent.futures.ProcessPoolExecutor` hangs if a worker is killed while it imports or while it writes a result,
    because other processes hold the same ends of its pipes. Here the worker alone holds its end, so its death ends
    every read and write of the thread that serves it.

    Args:
        function: picklable callable.
        processes: int.
    """

    def __init__(self, function, processes):
        self._function = pickle.dumps(function, pickle.HIGHEST_PROTOCOL)
        self._processes = processes
        self._workers: list[_Worker] = []
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._threads = concurrent.futures.ThreadPoolExecutor(processes)

    def submit(self, item):
        """`concurrent.futures.Future` of `function(*item)`."""
        if len(self._workers) < self._processes:
            self._workers.append(_Worker())
            self._idle.put(self._workers[-1])
        return self._threads.submit(self._call, item)

    def _call(self, item):
        worker = self._idle.get()
        try:
            return worker.call(self._function, item)
        finally:
            self._idle.put(worker)

    def end(self):
        """Ends the workers, which have no work left."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join(SECONDS_TO_END)

    def close(self):
        """Kills what workers there are; items that are not done yet are not done."""
        for worker in self._workers:
            worker.process.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.process.join()
            worker.connection.close()


class _Worker:
    """A worker process and this side of its pipe."""

    def __init__(self):
        self.connection, other_end = multiprocessing.Pipe()
        # Not fork: this process may hold TensorFlow's threads (a tokenizer from a preset).
        self.process = multiprocessing.get_context("spawn").Process(target=work, args=(other_end,), daemon=True)
        with _SPAWNING, _short_arguments(), _without_the_main_script(), signals_wait(), _without_interrupts():
            self.process.start()
        other_end.close()
        self._has_function = False

    def call(self, function, item):
        """The result of `function` (pickled) on `item`."""
        item = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        try:
            if not self._has_function:
                self.connection.send_bytes(function)
                self._has_function = True
            self.connection.send_bytes(item)
            succeeded, result = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            raise WorkerDiedError(f"a worker process died{self._reason()}") from None
        if succeeded:
            return result
        raise result

    def _reason(self):
        self.process.join(SECONDS_TO_END)
        code = self.process.exitcode
        if code is None or code >= 0:
            return ", perhaps for lack of memory; give fewer --processes"
        if code == -signal.SIGKILL:
            return " by SIGKILL, perhaps for lack of memory; give fewer --processes"
        return f" by {signal.strsignal(-code) or -code}"


_SPAWNING = threading.Lock()


@contextlib.contextmanager
def _short_arguments():
    """Keeps the command's arguments from being written to a worker.

    `multiprocessing` writes them while it starts a process, to a pipe that holds 64 KB, and blocks if the
    process dies before it reads them. Thousands of file names are longer.
    """
    arguments = sys.argv
    sys.argv = arguments[:1]
    try:
        yield
    finally:
        sys.argv = arguments


@contextlib.contextmanager
def _without_the_main_script():
    """Keeps workers from running the user's script again.

    `multiprocessing` imports the main module in each new process, so a script without `if __name__ == "__main__"`
    would start itself again and again. The workers need nothing of it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_interrupts():
    """Processes started within ignore Ctrl-C, which reaches the whole group; the main process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
