"""The numbers of a log interval."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.reports.writers import Recorder
from infoxlm_keras.runs.callbacks.step_callback import StepCallback
from infoxlm_keras.training.optimizer import rate_of_last_update
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


class IntervalLog(StepCallback):
    """Every `log_every` steps: the metrics' means over the interval, the rates, the queue, to all writers.

    Args:
        recorder: `Recorder`.
        start_step: int, steps already done.
        total_steps: int.
        log_every: int.
        batch_sizes: dict of task name to its samples in a step.
        open_interval: list of arrays for the metrics' variables, `Restored.metrics`. With them a resumed run continues
            the interrupted interval, and logs the same means as a run without an interruption.
        peak_flops: optional float, peak operations a second of all devices, for `mfu`.
    """

    def __init__(
        self,
        recorder: Recorder,
        start_step: int,
        total_steps: int,
        log_every: int,
        batch_sizes: Mapping[str, int],
        open_interval: Sequence[Array] = (),
        peak_flops: float | None = None,
    ) -> None:
        super().__init__(start_step)
        self.recorder = recorder
        self.total_steps = total_steps
        self.log_every = log_every
        self.batch_sizes = batch_sizes
        self.open_interval = open_interval
        self.peak_flops = peak_flops
        # `time.perf_counter()` before the interval's first step, and the steps done then.
        self.interval_start: float | None = None
        self.interval_step = start_step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Here and not before `fit`, which sets the metrics to zero first.
        if len(self.open_interval):
            for variable, value in zip(self.model.metrics_variables, self.open_interval, strict=True):
                variable.assign(value)
            self.open_interval = ()
        self.interval_start = None

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Not at the end of the last interval: an evaluation or a checkpoint may follow there, which is no training.
        if self.interval_start is None:
            self.interval_start, self.interval_step = time.perf_counter(), self.step

    def after_step(self) -> None:
        self.recorder.advance(self.step)
        if self.passed_multiple_of(self.log_every) or self.step == self.total_steps:
            model = self.model
            record = {"step": self.step, **interval_record(model, self.batch_sizes)}
            assert self.interval_start is not None
            seconds = time.perf_counter() - self.interval_start
            steps = self.step - self.interval_step
            record.update(speeds(record, steps / seconds, self.peak_flops))
            self.recorder.write(record)
            model.reset_metrics()
            self.interval_start = None


def interval_record(model: InfoXLMPretrainer, batch_sizes: Mapping[str, int]) -> dict[str, float]:
    """dict of name to number: the metrics' means since they were reset, the last update's rate, the tasks' state.

    A mean of nothing is left out: a task without predictions, or whose losses were not finite in any step.
    """
    empty = {
        metric.name
        for metric in model.metrics
        if isinstance(metric, keras.metrics.Mean) and _number(metric.count) == 0
    }
    record = {name: float(value) for name, value in model.get_metrics_result().items() if name not in empty}
    record["learning_rate"] = _number(rate_of_last_update(model.optimizer))
    record["skipped_steps"] = int(_number(model.skipped_steps))
    if model.uses_loss_scale:
        record["loss_scale"] = _number(model.loss_scale)
    update = int(_number(model.optimizer.iterations))
    for task in model.tasks:
        numbers = task.state_numbers(update, batch_sizes[task.host or task.task_name])
        record.update({f"{task.task_name}_{name}": value for name, value in numbers.items()})
    return record


def speeds(record: Mapping[str, float], steps_per_second: float, peak_flops: float | None = None) -> dict[str, float]:
    """dict of the columns `reports.history.SPEEDS`, without those that are not known.

    Args:
        record: mapping, from `interval_record`.
        steps_per_second: float.
        peak_flops: see `IntervalLog`.

    Example:
    ```python
    speeds({"tokens_per_step": 1e4, "tflop_per_step": 5.0}, 2.0, 4e13)
    # {"tokens_per_second": 20000.0, "tflop_per_second": 10.0, "mfu": 0.25}
    ```
    """
    found = {"tokens_per_second": record["tokens_per_step"] * steps_per_second}
    if "tflop_per_step" in record:
        found["tflop_per_second"] = record["tflop_per_step"] * steps_per_second
        if peak_flops:
            found["mfu"] = found["tflop_per_second"] * 1e12 / peak_flops
    return found


def _number(value):
    return float(ops.convert_to_numpy(value))
