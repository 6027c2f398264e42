"""The pretext tasks' losses on held-out records while training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.runs.callbacks.periodic_evaluation import PeriodicEvaluation

if TYPE_CHECKING:
    import tensorflow as tf

PREFIX = "val_"
QUANTITIES = ("loss", "accuracy", "mi_lower_bound")


class ValidationLoss(PeriodicEvaluation):
    """`val_loss`, and each task's loss, accuracy and bound, on the same held-out batches every time.

    Dropout is off, and no weight changes. XLCO's candidates are the keys of training that are in the queue: its loss
    measures held-out pairs against negatives from training, and nothing enters the queue.

    Args:
        dataset: tf.data.Dataset of `(batch,)` without end, batches as `InfoXLMPretrainer.evaluate` takes them; it is
            read from its beginning each time.
        batches: int, how many of them.
        tasks: list of task names.
        schedule: `recorder`, `start_step`, `total_steps` and `every` of `PeriodicEvaluation`.
    """

    def __init__(self, dataset: tf.data.Dataset, batches: int, tasks: Iterable[str], **schedule: Any) -> None:
        super().__init__(**schedule)
        self.dataset = dataset
        self.batches = batches
        self.columns = validation_columns(tasks)

    def measure(self) -> dict[str, float]:
        model = self.model
        # `evaluate` uses the metrics of training, whose interval may be half full.
        interval = [np.array(variable) for variable in model.metrics_variables]
        found = model.evaluate(self.dataset, steps=self.batches, verbose=0, return_dict=True)
        for variable, value in zip(model.metrics_variables, interval, strict=True):
            variable.assign(value)
        return {name: float(found[name.removeprefix(PREFIX)]) for name in self.columns}


def validation_columns(tasks: Iterable[str]) -> tuple[str, ...]:
    """Tuple of the names that `ValidationLoss` writes for `tasks`, the total loss first."""
    return (f"{PREFIX}loss", *(f"{PREFIX}{task}_{quantity}" for task in tasks for quantity in QUANTITIES))
