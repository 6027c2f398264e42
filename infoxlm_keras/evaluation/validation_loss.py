"""The pretext tasks' losses on held-out records while training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.settings import NonNegativeInt, Settings
from infoxlm_keras.tasks.registry import task_class

if TYPE_CHECKING:
    from infoxlm_keras.config import RunSettings
    from infoxlm_keras.data.batch_stream import BatchStream
    from infoxlm_keras.tokenizer import Tokenizer
    from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


def quantities_of(task: str) -> tuple[str, ...]:
    """What is measured of the pretext task named `task`: its loss, its accuracy, and its bound if it has one."""
    return ("loss", "accuracy", *(("mi_lower_bound",) if task_class(task).bounds_information else ()))


class ValidationSettings(Settings):
    """Losses are measured on `validation_batches` batches of the records that data.validation_records holds out."""

    validation_batches: NonNegativeInt = 20


class ValidationLoss(Evaluation):
    """`val_loss`, and each task's loss, accuracy and bound, on the same held-out batches every time.

    Dropout is off, and no weight changes. XLCO's candidates are the keys of training that are in the queue: its loss
    measures held-out pairs against negatives from training, and nothing enters the queue.

    Args:
        tasks: sequence of task names.
        batches: int, how many batches are measured.
    """

    name = "validation"
    Settings = ValidationSettings
    own_section = False
    switched_on_by = "data.validation_records"
    reads_validation_records = True
    prefix = "val"
    console_numbers = {"val_loss": "validation {:.3f}"}

    def __init__(self, tasks: Sequence[str], batches: int) -> None:
        self.tasks = tuple(tasks)
        self.batches = batches

    @classmethod
    def from_config(cls, config: RunSettings) -> ValidationLoss | None:
        batches = config.evaluation.of(cls).validation_batches
        if not config.data.validation_records or not batches:
            return None
        # `evaluate` runs whole executions.
        executions = -(-batches // config.steps_per_execution)
        return cls(config.tasks, executions * config.steps_per_execution)

    @property
    def columns(self) -> tuple[str, ...]:
        quantities = [f"{task}_{quantity}" for task in self.tasks for quantity in quantities_of(task)]
        return tuple(f"{self.prefix}_{name}" for name in ("loss", *quantities))

    def bind(
        self, pretrainer: InfoXLMPretrainer, tokenizer: Tokenizer, validation_streams: Sequence[BatchStream]
    ) -> None:
        from infoxlm_keras.data.streams import joined_dataset

        # It is read from its beginning each time.
        self.dataset = joined_dataset(validation_streams).map(lambda batch: (batch,))

    def measure(self, pretrainer: InfoXLMPretrainer) -> dict[str, float]:
        # `evaluate` uses the metrics of training, whose interval may be half full.
        interval = [np.array(variable) for variable in pretrainer.metrics_variables]
        found = pretrainer.evaluate(self.dataset, steps=self.batches, verbose=0, return_dict=True)
        for variable, value in zip(pretrainer.metrics_variables, interval, strict=True):
            variable.assign(value)
        return {name: float(found[name.removeprefix(f"{self.prefix}_")]) for name in self.columns}
