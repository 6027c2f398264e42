"""Gives memory that compilers have freed back to the system."""

import contextlib
import ctypes
import threading
from typing import Any

from infoxlm_keras.runs.callbacks.step_callback import StepCallback

# Seconds between two returns of memory while the first steps are compiled and run, and how often at most.
PAUSE, MOST = 0.5, 1200


class FreedMemory(StepCallback):
    """The C library returns its free memory to the system, after steps 1, 2, 4, 8, ... and during the first two.

    XLA's compilers work on many small blocks, and glibc keeps these when they are free: 0.4 to 0.6 GB after the step
    of `small` is compiled, 0.8 GB after that of `infoxlm_base` (`benchmarks/process_memory.py`). Without the returns
    during the first step they would lie beside its temporaries, and make the peak of the whole run. Programs for
    further shapes of batches are compiled early, so ever longer pauses are enough. Does nothing where the C library
    is not glibc.
    """

    def __init__(self, start_step: int = 0) -> None:
        super().__init__(start_step)
        self.due = start_step + 1
        self.steady = threading.Event()

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        self.steady.clear()
        threading.Thread(target=self._until_steady, name="freed memory", daemon=True).start()

    def on_train_end(self, logs: Any = None) -> None:
        self.steady.set()
        super().on_train_end(logs)

    def after_step(self) -> None:
        if self.step < self.due:
            return
        # A device may still work on this step; the next one waits for it.
        if self.step > self.start_step + 1:
            self.steady.set()
        self.due = self.start_step + 2 * (self.step - self.start_step)
        return_free_memory()

    def _until_steady(self):
        for _ in range(MOST):
            if self.steady.wait(PAUSE):
                return
            return_free_memory()


def return_free_memory() -> None:
    """Calls glibc's `malloc_trim`."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
