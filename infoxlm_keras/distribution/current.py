"""What the run in progress is distributed over; a single process and device unless said otherwise."""

import contextlib
import dataclasses


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
    devices: tuple = ()
    num_workers: int = 1
    worker: int = 0
    strategy: object = None

    @contextlib.contextmanager
    def scope(self):
        """Within it variables are made on all devices, and this is the `current_distribution()`."""
        global _current
        before, _current = _current, self
        try:
            with getattr(self.strategy, "scope", contextlib.nullcontext)():
                yield self
        finally:
            _current = before


# Not a thread's own, as TensorFlow's is: a thread that writes a checkpoint asks too.
_current = Distribution()


def current_distribution():
    """The `Distribution` whose scope is open, or one device."""
    return _current


def is_chief():
    """Whether this process writes the run's files; True where there is only one process."""
    return _current.worker == 0


def global_replica_count():
    """int: replicas over all processes."""
    return _current.num_replicas
