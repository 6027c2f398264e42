"""A function on many items at once, results in the items' order."""

import collections
import concurrent.futures
import concurrent.futures.process
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

from infoxlm_keras.errors import InputError

# Items a worker may be ahead of the consumer: bounds memory, and hides uneven items.
ITEMS_AHEAD = 3

_function = None


class WorkerDiedError(InputError):
    """A worker process was ended from outside; the input may be in order."""


def available_processes():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def map_in_order(function, items, processes):
    """Yields (item, `function(*item)`) for each of `items`, in their order, worked on by `processes` processes.

    What is yielded or raised does not depend on `processes`: an error in an item is raised after the results before
    it, and an error of the iterable `items` itself after the results of what it gave.

    Args:
        function: picklable callable; each worker process gets it once.
        items: iterable of tuples, picklable; consumed a few items ahead of the results.
        processes: int >= 1; with 1 all is done in this process.

    Raises:
        WorkerDiedError: if a worker process dies.
    """
    if processes == 1:
        for item in items:
            yield item, function(*item)
        return
    # Not fork: this process may hold TensorFlow's threads (a tokenizer from a preset).
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(processes, context, _start_worker, (function,))
    try:
        yield from _map_on(pool, iter(items), processes * ITEMS_AHEAD)
    except concurrent.futures.process.BrokenProcessPool:
        raise WorkerDiedError("a worker process died, perhaps for lack of memory; give fewer --processes") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _map_on(pool, items, most_pending):
    pending, failure = collections.deque(), None
    while True:
        try:
            while len(pending) < most_pending:
                item = next(items)
                pending.append((item, pool.submit(_call, item)))
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


def _start_worker(function):
    global _function
    _function = function
    # Ctrl-C reaches the whole group; the main process ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Ends this worker when the main process is killed: its queue would keep it waiting for ever."""
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(item):
    return _function(*item)
