"""What the run in progress is distributed over; a single process and device unless said otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The devices that train together, and this process's part among them.

    Attributes:
        name: str, as on the command line.
        num_replicas: int, parts into which each global batch is cut; every part is one device's (or, with sharded
            weights, one group of devices').
        devices: tuple of str, for printing.
        num_workers, worker: int, processes of the run and the number of this one.
        strategy: a `tf.distribute.Strategy`, a `keras.distribution` object, or None.
    """

    name: str = "one"
    num_replicas: int = 1
    devices: tuple[str, ...] = ()
    num_workers: int = 1
    worker: int = 0
    strategy: Any = None

    @contextlib.contextmanager
    def scope(self) -> Iterator[Distribution]:
        """Within it this is the `current_distribution()`, in all threads; a whole run takes place in it."""
        global _current
        before, _current = _current, self
        try:
            # Keras' own lays out batches too; TensorFlow's would make a variable of whatever one worker does alone.
            with contextlib.nullcontext() if self._is_tensorflows else self.strategy.scope():
                yield self
        finally:
            _current = before

    def variables(self) -> contextlib.AbstractContextManager[Any]:
        """Context within which variables are made on all devices.

        All workers must make the same ones in the same order, and wait for each other at each: make the model, its
        tasks and its optimizer in it, but save, load and evaluate outside, where one worker can do it alone.
        """
        if self.strategy is None or not self._is_tensorflows:
            return contextlib.nullcontext()
        return self.strategy.scope()

    @property
    def _is_tensorflows(self):
        return self.strategy is None or hasattr(self.strategy, "experimental_local_results")


# Not a thread's own, as TensorFlow's is: a thread that writes a checkpoint asks too.
_current = Distribution()


def current_distribution() -> Distribution:
    """The `Distribution` whose scope is open, or one device."""
    return _current


def is_chief() -> bool:
    """Whether this process writes the run's files; True where there is only one process."""
    return _current.worker == 0


def global_replica_count() -> int:
    """int: replicas over all processes."""
    return _current.num_replicas
