"""Scores on development data while a head is trained: they choose the update that is kept, and can end a run."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.distribution import is_chief
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json
from infoxlm_keras.reports.writers import Recorder
from infoxlm_keras.runs.callbacks.step_callback import StepCallback

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead

# The number that chooses; as a column of history.csv and as a checkpoint's score.
DEVELOPMENT_MEAN = "development_mean"
# Numbers of the newest log interval that are kept with a measure.
OF_TRAINING = {"training_loss": "loss", "training_accuracy": "accuracy"}


class DevelopmentScores(StepCallback):
    """Measures the head every `every` updates and at the end, in each language of its development data.

    Args:
        head: `FineTuningHead`, built.
        recorder: `Recorder`; gets `development_mean` and a number for each language.
        start_step, total_steps, every, updates_per_epoch, batch_size: int.
        path: path of the JSON file that keeps all measures of the run. Those after `start_step` are removed first.
        patience: int or None, training ends after as many measures in a row without a new best mean.

    Attributes:
        records: list of dicts, a measure each: `update`, `epoch`, `loss` and `accuracy` (of training, of the newest
            log interval), and, if there is development data, `development` (by language) and `development_mean`.
    """

    def __init__(
        self,
        head: "FineTuningHead",
        recorder: Recorder,
        start_step: int,
        total_steps: int,
        every: int,
        updates_per_epoch: int,
        batch_size: int,
        path: pathlib.Path,
        patience: int | None = None,
    ) -> None:
        super().__init__(start_step)
        self.head = head
        self.recorder = recorder
        self.total_steps = total_steps
        self.every = every
        self.updates_per_epoch = updates_per_epoch
        self.batch_size = batch_size
        self.path = path
        self.patience = patience
        self.records = read_measures(path, start_step)

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` measures brought no new best mean."""
        means = [record[DEVELOPMENT_MEAN] for record in self.records if DEVELOPMENT_MEAN in record]
        if self.patience is None or not means:
            return False
        return len(means) - 1 - int(np.argmax(means)) >= self.patience

    def after_step(self) -> None:
        if not self.passed_multiple_of(self.every) and self.step != self.total_steps:
            return
        record: dict[str, Any] = {"update": self.step, "epoch": self.step / self.updates_per_epoch}
        newest = self.recorder.newest
        record.update({name: newest[column] for column, name in OF_TRAINING.items() if column in newest})
        if self.head.development:
            # On JAX, `self.model` puts the weights in training back into the model's variables.
            assert self.model is not None
            scores = self.head.measure(self.head.development, self.batch_size, lambda samples: None)[self.head.metric]
            record["development"] = scores
            record[DEVELOPMENT_MEAN] = float(np.mean(list(scores.values())))
            numbers = {f"development_{language}": score for language, score in scores.items()}
            self.recorder.write({"step": self.step, DEVELOPMENT_MEAN: record[DEVELOPMENT_MEAN], **numbers})
        self.records.append(record)
        if is_chief():
            write_json(self.path, self.records)
        if self.exhausted:
            self.model.stop_training = True


def read_measures(path: pathlib.Path, last_step: int) -> list[dict[str, Any]]:
    """The measures up to `last_step` (int) that `DevelopmentScores` wrote to `path`; none if there is no file.

    Raises:
        InputError: if the file is damaged.
    """
    if not path.is_file():
        return []
    records = read_json(path)
    if not isinstance(records, list) or not all(isinstance(one, dict) and "update" in one for one in records):
        raise InputError(f"{path}: is not a list of measures; repair it, or start over with --overwrite")
    return [record for record in records if record["update"] <= last_step]
