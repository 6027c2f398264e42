"""A measure on held-out data while training."""

from infoxlm_keras.runs.callbacks.step_callback import StepCallback


class PeriodicEvaluation(StepCallback):
    """Calls `measure()` before step 1, every `every` steps and at the end; its numbers go to all writers.

    It must leave the state of training as it is: a run is the same to the last bit with and without it.

    Args:
        recorder: `Recorder`.
        start_step, total_steps, every: int.

    Attributes:
        columns: tuple of str, numbers that `measure` gives; by the first the best checkpoint is chosen.
    """

    columns = ()

    def __init__(self, recorder, start_step, total_steps, every):
        super().__init__(start_step)
        self.recorder = recorder
        self.total_steps = total_steps
        self.every = every

    def measure(self):
        """dict of name to float."""
        raise NotImplementedError

    def on_train_begin(self, logs=None):
        if self.start_step == 0:
            self._write()

    def after_step(self):
        if self.passed_multiple_of(self.every) or self.step == self.total_steps:
            self._write()

    def _write(self):
        self.recorder.write({"step": self.step, **self.measure()})
