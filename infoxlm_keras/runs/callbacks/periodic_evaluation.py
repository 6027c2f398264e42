"""A measure on held-out data while training."""

from typing import Any

from infoxlm_keras.reports.writers import Recorder
from infoxlm_keras.runs.callbacks.step_callback import StepCallback


class PeriodicEvaluation(StepCallback):
    """Calls `measure()` before step 1, every `every` steps and at the end; its numbers go to all writers.

    It must not change the state of training: a run is bit-identical with and without it.

    Args:
        recorder: `Recorder`.
        start_step, total_steps, every: int.

    Attributes:
        columns: tuple of str, names of the numbers that `measure` gives; the first one chooses the best checkpoint.
    """

    columns: tuple[str, ...] = ()

    def __init__(self, recorder: Recorder, start_step: int, total_steps: int, every: int) -> None:
        super().__init__(start_step)
        self.recorder = recorder
        self.total_steps = total_steps
        self.every = every

    def measure(self) -> dict[str, float]:
        """dict of name to float."""
        raise NotImplementedError

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.start_step == 0:
            self._write()

    def after_step(self) -> None:
        if self.passed_multiple_of(self.every) or self.step == self.total_steps:
            self._write()

    def _write(self):
        self.recorder.write({"step": self.step, **self.measure()})
