"""The metrics of a training step: losses and accuracies of each task, bounds, norm, tokens, padding, FLOPs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.training.smoothed_mean import SmoothedMean

if TYPE_CHECKING:

    class _Model(keras.Model):
        tasks: Sequence[PretextTask]
        states_flops: bool

else:

    class _Model:
        """Base of the mixin. It holds nothing: `InfoXLMPretrainer` has the tasks."""


class StepMetrics(_Model):
    """Mixin of `InfoXLMPretrainer`: the Keras metrics that its steps update, and that `fit` logs."""

    def make_metrics(self) -> None:
        """Makes them, once, when the tasks are known."""
        self.task_metrics = {task.task_name: _task_metrics(task) for task in self.tasks}
        self.smoothed_bounds = {
            task.task_name: SmoothedMean(f"{task.task_name}_mi_lower_bound_smoothed")
            for task in self.tasks
            if task.bounds_information
        }
        self.total_loss_metric = keras.metrics.Mean(name="loss")
        self.gradient_norm_metric = keras.metrics.Mean(name="gradient_norm")
        self.tokens_metric = keras.metrics.Mean(name="tokens_per_step")
        self.padding_metric = keras.metrics.Mean(name="padding_share")
        # In units of 10^12 (tera).
        self.flops_metric = keras.metrics.Mean(name="tflop_per_step")

    def update_task_metrics(self, results: dict[str, dict[str, Any]], training: bool = True) -> None:
        """Adds one micro-batch's `results` to the tasks' metrics.

        In training a task whose loss is not finite is left out, since the update is skipped. A measurement is of all
        batches, and is not finite then.
        """
        update = update_finite if training else keras.metrics.Mean.update_state
        for name, result in results.items():
            mean = result["loss_sum"] / ops.maximum(result["count"], 1.0)
            # Predictions from logits that are not numbers count neither as right nor as wrong.
            count = ops.where(ops.isfinite(mean), result["count"], 0.0) if training else result["count"]
            averages = {"accuracy": result["correct_sum"], **result["averages"]}
            values = {key: total / ops.maximum(result["count"], 1.0) for key, total in averages.items()}
            values["loss"] = mean
            if name in self.smoothed_bounds:
                candidates = values.get("log_candidates", ops.log(result["num_candidates"]))
                values["mi_lower_bound"] = candidates - mean
                # It goes on over a whole run, so one number that is none would stay.
                update_finite(self.smoothed_bounds[name], values["mi_lower_bound"], count)
            for key, value in values.items():
                update(self.task_metrics[name][key], value, count)
            for key, further in result["further"].items():
                mean = further["loss_sum"] / ops.maximum(further["count"], 1.0)
                further_count = ops.where(ops.isfinite(mean), further["count"], 0.0) if training else further["count"]
                accuracy = further["correct_sum"] / ops.maximum(further["count"], 1.0)
                update(self.task_metrics[name][f"{key}_loss"], mean, further_count)
                update(self.task_metrics[name][f"{key}_accuracy"], accuracy, further_count)

    def update_step_metrics(self, token_counts: Tensors, loss: Tensor, norm: Tensor) -> None:
        """Adds one update's tokens, total loss and gradient norm to the metrics; what is not finite is left out."""
        self.tokens_metric.update_state(token_counts["tokens"])
        self.padding_metric.update_state(1.0 - token_counts["tokens"] / token_counts["positions"])
        if self.states_flops:
            self.flops_metric.update_state(token_counts["tflop"])
        update_finite(self.total_loss_metric, loss)
        update_finite(self.gradient_norm_metric, norm)

    def metric_results(self) -> Tensors:
        """dict of metric name to scalar tensor, for the logs of `fit`."""
        return {metric.name: metric.result() for metric in self.metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        tasks = [metric for metrics in self.task_metrics.values() for metric in metrics.values()]
        return [
            self.total_loss_metric,
            *tasks,
            *self.smoothed_bounds.values(),
            self.gradient_norm_metric,
            self.tokens_metric,
            self.padding_metric,
            *([self.flops_metric] if self.states_flops else []),
        ]


def update_finite(metric: keras.metrics.Metric, value: Tensor, weight: float | Tensor = 1.0) -> None:
    """Adds `value` to a `keras.metrics.Mean` with `weight`, or with weight 0 if it is not finite."""
    finite = ops.isfinite(value)
    weight = ops.where(finite, ops.cast(weight, "float32"), 0.0)
    metric.update_state(ops.where(finite, value, 0.0), sample_weight=weight)


def _task_metrics(task):
    bounds = ["mi_lower_bound"] if task.bounds_information else []
    further = [f"{name}_{quantity}" for name in task.further_names for quantity in ("loss", "accuracy")]
    names = ["loss", "accuracy", *bounds, *task.average_names, *further]
    return {name: keras.metrics.Mean(name=f"{task.task_name}_{name}") for name in names}
