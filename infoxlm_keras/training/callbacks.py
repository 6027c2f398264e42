"""Keras callbacks of a run: the log of an interval, checkpoints, and the stop after too many skipped steps."""

import time

import keras
from keras import ops

from infoxlm_keras.errors import InputError
from infoxlm_keras.training.checkpoint import save_checkpoint


class IntervalLog(keras.callbacks.Callback):
    """Every `log_every` steps: the metrics' means over the interval, the rates, and tokens a second, to all writers.

    Args:
        writers: list of objects with `write(record)` and `close()`; a `ProgressBar` also has `advance(step)`.
        start_step: int, steps already done.
        total_steps: int.
        log_every: int.
    """

    def __init__(self, writers, start_step, total_steps, log_every):
        super().__init__()
        self.writers = writers
        self.step = start_step
        self.total_steps = total_steps
        self.log_every = log_every

    def on_train_begin(self, logs=None):
        self._start_interval()

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        for writer in self.writers:
            if hasattr(writer, "advance"):
                writer.advance(self.step)
        if self.step % self.log_every == 0 or self.step == self.total_steps:
            self._log()

    def on_train_end(self, logs=None):
        for writer in self.writers:
            writer.close()

    def _start_interval(self):
        self.interval_start, self.interval_step = time.perf_counter(), self.step

    def _log(self):
        model = self.model
        record = {"step": self.step}
        record.update({name: float(value) for name, value in model.get_metrics_result().items()})
        seconds = time.perf_counter() - self.interval_start
        record["tokens_per_second"] = record["tokens_per_step"] * (self.step - self.interval_step) / seconds
        record["learning_rate"] = float(ops.convert_to_numpy(model.optimizer.learning_rate))
        record["skipped_steps"] = int(ops.convert_to_numpy(model.skipped_steps))
        if model.task("xlco") is not None:
            update = int(ops.convert_to_numpy(model.optimizer.iterations))
            record["xlco_momentum"] = float(ops.convert_to_numpy(model.task("xlco").momentum(update)))
        for writer in self.writers:
            writer.write(record)
        model.reset_metrics()
        self._start_interval()


class Checkpoints(keras.callbacks.Callback):
    """Saves a checkpoint every `save_every` steps and at the end.

    Args:
        directory: path of the run's checkpoints.
        start_step, save_every, keep: int.
        info: dict kept with each checkpoint.
    """

    def __init__(self, directory, start_step, save_every, keep, info):
        super().__init__()
        self.directory = directory
        self.step = self.saved = start_step
        self.save_every = save_every
        self.keep = keep
        self.info = info

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % self.save_every == 0:
            self._save()

    def on_train_end(self, logs=None):
        if self.saved != self.step:
            self._save()

    def _save(self):
        save_checkpoint(self.directory, self.model, self.step, self.info, self.keep)
        self.saved = self.step


class StopAfterSkips(keras.callbacks.Callback):
    """Ends training with an error when `limit` steps in a row had gradients that were not finite."""

    def __init__(self, limit, start_step, check_every=10):
        super().__init__()
        self.limit = limit
        self.step = start_step
        self.check_every = min(check_every, limit)

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % self.check_every:
            return
        in_a_row = int(ops.convert_to_numpy(self.model.consecutive_skipped_steps))
        if in_a_row >= self.limit:
            raise InputError(
                f"steps {self.step - in_a_row + 1}..{self.step}: gradients were not finite {in_a_row} times in a row "
                f"(limit {self.limit}); lower optimizer.learning_rate, or look at these steps' data"
            )
