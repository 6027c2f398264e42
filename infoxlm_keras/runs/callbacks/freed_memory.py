"""Gives memory that compilers have freed back to the system."""

import contextlib
import ctypes

from infoxlm_keras.runs.callbacks.step_callback import StepCallback


class FreedMemory(StepCallback):
    """After steps 1, 2, 4, 8, ... the C library returns its free memory to the system.

    XLA's compilers work on many small blocks, and glibc keeps these when they are free: 0.4 to 0.6 GB after the step
    of `small` is compiled (`benchmarks/process_memory.py`). Programs for further shapes of batches are compiled early,
    so ever longer pauses are enough. Does nothing where the C library is not glibc.
    """

    def __init__(self, start_step: int = 0) -> None:
        super().__init__(start_step)
        self.due = start_step + 1

    def after_step(self) -> None:
        if self.step < self.due:
            return
        self.due = self.start_step + 2 * (self.step - self.start_step)
        return_free_memory()


def return_free_memory() -> None:
    """Calls glibc's `malloc_trim`."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
