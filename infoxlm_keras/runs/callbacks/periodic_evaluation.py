"""A measure on held-out data while training."""

from typing import Any

from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.reports.writers import Recorder
from infoxlm_keras.runs.callbacks.step_callback import StepCallback


class PeriodicEvaluation(StepCallback):
    """Measures before step 1, every `every` steps and at the end; the numbers go to all writers.

    A run is bit-identical with and without it.

    Args:
        evaluation: `Evaluation`, bound to the model that is trained.
        recorder: `Recorder`.
        start_step, total_steps, every: int.
    """

    def __init__(
        self, evaluation: Evaluation, recorder: Recorder, start_step: int, total_steps: int, every: int
    ) -> None:
        super().__init__(start_step)
        self.evaluation = evaluation
        self.recorder = recorder
        self.total_steps = total_steps
        self.every = every

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.start_step == 0:
            self._write()

    def after_step(self) -> None:
        if self.passed_multiple_of(self.every) or self.step == self.total_steps:
            self._write()

    def _write(self):
        # On JAX, `self.model` puts the weights in training back into the model's variables.
        model = self.model
        with model.averaged_weights():
            numbers = self.evaluation.measure(model)
        self.recorder.write({"step": self.step, **numbers})
