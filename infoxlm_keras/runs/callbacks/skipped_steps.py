"""Records steps whose gradients were not finite with their samples, and ends a run that has too many."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_text, write_atomically
from infoxlm_keras.reports.skipped_samples import describe_samples
from infoxlm_keras.runs.callbacks.step_callback import StepCallback
from infoxlm_keras.runs.sample_record import samples_of_steps


class SkippedSteps(StepCallback):
    """Notes every skipped step, and ends training after `limit` of them in a row.

    A line of `skipped_steps.jsonl` is `{"first_step", "last_step", "skipped", "samples"}`, see `samples_of_steps`. The
    two steps differ only with `steps_per_execution` above 1; training then ends after the execution.

    Args:
        limit: int >= 1.
        start_step: int.
        streams: the streams that training reads.
        path: the file of the lines; lines of steps after `start_step` are removed first. None writes no file.
        report: called with one line for each skipped step, except with float16, whose loss scale skips by design.
    """

    def __init__(
        self,
        limit: int,
        start_step: int,
        streams: Sequence[BatchStream] = (),
        path: PathLike | None = None,
        report: Callable[[str], None] = print,
    ) -> None:
        super().__init__(start_step)
        self.limit = limit
        self.streams = list(streams)
        self.path = None if path is None else pathlib.Path(path)
        self.report = report
        if self.path is not None:
            drop_later_lines(self.path, start_step)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.skipped = self.counter(self.model.skipped_steps)

    def after_step(self) -> None:
        before, self.skipped = self.skipped, self.counter(self._model.skipped_steps)
        if self.skipped == before:
            return
        first, last = self.previous_step + 1, self.step
        samples = samples_of_steps(self.streams, first, last)
        self._note({"first_step": first, "last_step": last, "skipped": self.skipped - before, "samples": samples})
        if not self._model.uses_loss_scale:
            self.report(
                f"step {last}: gradients were not finite, the step is skipped ({self.skipped} skipped so far); "
                f"it read {describe_samples(samples)}"
            )
        in_a_row = self.counter(self._model.consecutive_skipped_steps)
        if in_a_row >= self.limit:
            raise InputError(self._message(in_a_row))

    def _note(self, line):
        if self.path is not None:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def _message(self, in_a_row):
        first = self.step - in_a_row + 1
        samples = samples_of_steps(self.streams, first, self.step)
        where = "" if self.path is None else f" (each record is named in {self.path})"
        return (
            f"steps {first}..{self.step}: gradients were not finite {in_a_row} times in a row (limit "
            f"{self.limit}, max_consecutive_skips); they read {describe_samples(samples)}{where}; lower "
            "optimizer.learning_rate, or correct these records"
        )


def drop_later_lines(path: pathlib.Path, start_step: int) -> None:
    """Removes the lines of steps after `start_step`, and the file if none is left."""
    if not path.is_file():
        return
    # A line without its end was cut by a kill; its step is later than the newest checkpoint.
    lines = [line for line in read_text(path).splitlines(keepends=True) if line.endswith("\n")]
    kept = []
    for number, line in enumerate(lines, start=1):
        with parsing(path, "a run's list of skipped steps", place=f"line {number}".format):
            last_step = int(json.loads(line)["last_step"])
        if last_step <= start_step:
            kept.append(line)
    if kept:
        write_atomically(path, "".join(kept))
    else:
        path.unlink()
