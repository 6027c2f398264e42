"""What the run in progress is distributed over; by default one process and one device."""

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
        """Context for a whole run: makes this the `current_distribution()` of all threads."""
        global _current
        before, _current = _current, self
        try:
            # Keras' scope also lays out batches. TensorFlow's would distribute variables that one worker makes alone.
            with contextlib.nullcontext() if self._is_tensorflows else self.strategy.scope():
                yield self
        finally:
            _current = before

    def variables(self) -> contextlib.AbstractContextManager[Any]:
        """Context within which variables are made on all devices.

        All workers must make the same variables in the same order, because each creation waits for all of them. Make
        the model, its tasks and its optimizer inside. Save, load and evaluate outside, where one worker can act alone.
        """
        if self.strategy is None or not self._is_tensorflows:
            return contextlib.nullcontext()
        return self.strategy.scope()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Context in which one of several JAX processes may make variables, which otherwise waits for all of them."""
        if self.num_workers == 1 or self._is_tensorflows:
            yield
            return
        import keras

        before = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)

    @property
    def _is_tensorflows(self):
        return self.strategy is None or hasattr(self.strategy, "experimental_local_results")


# Global, unlike TensorFlow's thread-local strategy: threads that write checkpoints need it too.
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
