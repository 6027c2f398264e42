"""Saving the state of a run while it trains."""

import pathlib
from collections.abc import Callable
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.reports.writers import Recorder
from infoxlm_keras.runs.callbacks.step_callback import StepCallback
from infoxlm_keras.runs.checkpoint import best_score, save_checkpoint
from infoxlm_keras.runs.checkpoint_files import is_better


class Checkpoints(StepCallback):
    """Saves a checkpoint every `save_every` steps, at a new best score, and at the end.

    Args:
        directory: path of the run's checkpoints.
        start_step, save_every, keep: int.
        info: dict kept with each checkpoint.
        recorder: optional `Recorder`, where the scores are looked up.
        best_by: optional name of a score; see `save_checkpoint`.
        write: bool, False in a process that only takes part.
        after_save: optional function without arguments, called after each save (plots).
    """

    def __init__(
        self,
        directory: PathLike,
        start_step: int,
        save_every: int,
        keep: int,
        info: dict[str, Any],
        recorder: Recorder | None = None,
        best_by: str | None = None,
        write: bool = True,
        after_save: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(start_step)
        self.directory = pathlib.Path(directory)
        self.saved = start_step
        self.save_every = save_every
        self.keep = keep
        self.info = info
        self.recorder = recorder
        self.best_by = best_by
        self.best = best_score(directory, best_by)
        self.write = write
        self.after_save = after_save

    def after_step(self) -> None:
        score = self._score()
        new_best = self.best_by is not None and score is not None and is_better(self.best_by, score, self.best)
        if new_best:
            self.best = score
        if new_best or self.passed_multiple_of(self.save_every):
            self.save()

    def _score(self) -> float | None:
        """The score of the present step, or None if it has none."""
        if not self.best_by or self.recorder is None:
            return None
        return self.recorder.value(self.step, self.best_by)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.saved != self.step:
            self.save()

    def save(self) -> None:
        """Saves the present step."""
        score = self._score()
        scores = {} if self.best_by is None or score is None else {self.best_by: score}
        save_checkpoint(
            self.directory, self.model, self.step, self.info, scores, self.keep, self.best_by, write=self.write
        )
        self.saved = self.step
        if self.after_save is not None:
            self.after_save()
