"""The parts of a training step. The step of each backend puts them in order."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops, tree

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.combination import loss_scales
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import Number
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.loss_scale import next_loss_scale
from infoxlm_keras.training.step_metrics import StepMetrics


class StepParts(StepMetrics):
    """Mixin of `InfoXLMPretrainer`, whose constructor sets what is declared here."""

    backbone: Any
    encoder: Encoder
    loss_combination: str
    accumulation_steps: int
    clip_norm: float | None
    prepares: bool
    gathers: bool
    uses_loss_scale: bool
    loss_scale: keras.Variable
    finite_steps: keras.Variable
    skipped_steps: keras.Variable
    consecutive_skipped_steps: keras.Variable
    # Of `keras.Model`, made by `make_train_function` and `make_test_function`.
    train_function: Any
    test_function: Any

    @property
    def task_groups(self) -> list[list[PretextTask]]:
        """The tasks, each with those that use its batch and its forward pass behind it, a list of lists."""
        hosts = [task for task in self.tasks if task.host is None]
        return [[host, *(task for task in self.tasks if task.host == host.task_name)] for host in hosts]

    @property
    def training_updates(self) -> Tensor:
        """int32 scalar: the number of the update in progress, from 1 (skipped ones are not counted)."""
        return ops.cast(ops.convert_to_tensor(self.optimizer.iterations), "int32") + 1

    def batch_of(self, task: PretextTask, batch: Batch) -> Tensors:
        """The tensors in `batch` that `task` sees: its own, and those of its host; empty if there are none."""
        own = batch.get(task.task_name, {})
        return own if task.host is None else {**batch.get(task.host, {}), **own}

    def prepared(self, batch: Batch) -> dict[str, Tensors]:
        """dict of task name to what `PretextTask.prepare` makes of one micro-batch; other tasks are left out."""
        found = {task.task_name: task.prepare(self.batch_of(task, batch)) for task in self.tasks}
        return {name: tensors for name, tensors in found.items() if tensors}

    def with_prepared(self, batch: Batch, prepared: dict[str, Tensors]) -> Batch:
        """`batch` with the tensors that `prepared` gave."""
        return {**batch, **{name: {**batch.get(name, {}), **tensors} for name, tensors in prepared.items()}}

    def prediction_counts(self, batch: Batch) -> Tensors:
        """dict of task name, or `<task>.<further loss>`, to float32 scalar: predictions in the whole batch."""
        counts = {task.task_name: task.count(self.batch_of(task, batch)) for task in self.tasks}
        for task in self.tasks:
            further = task.further_counts(self.batch_of(task, batch))
            counts.update({f"{task.task_name}.{name}": count for name, count in further.items()})
        return counts

    def task_weights(self, step: Tensor) -> dict[str, float | Tensor]:
        """dict of task name, or `<task>.<further loss>`, to its weight in update `step`."""
        weights: dict[str, float | Tensor] = {task.task_name: task.weight_at(step) for task in self.tasks}
        for task in self.tasks:
            further = task.further_weights_at(step)
            weights.update({f"{task.task_name}.{name}": weight for name, weight in further.items()})
        return weights

    def scales(self, counts: Tensors, step: Tensor) -> Tensors:
        """dict like `counts` to the factor of the summed loss in the total; see `loss_scales`."""
        return loss_scales(counts, self.task_weights(step), self.loss_combination)

    def shared(self, batch: Batch) -> dict[str, Tensors]:
        """dict of task name to the tensors of one micro-batch that replicas exchange; see `PretextTask.shared`.

        Tasks without such tensors are left out, and tasks that `batch` lacks.
        """
        present = [task for task in self.tasks if (task.host or task.task_name) in batch]
        found = {task.task_name: task.shared(self.batch_of(task, batch)) for task in present}
        return {name: tensors for name, tensors in found.items() if tensors}

    def gathered(self, batch: Batch, training: bool) -> dict[str, Tensors]:
        """dict of task name to the tensors of one micro-batch that the whole update needs, `PretextTask.gathered`."""
        found = {task.task_name: task.gathered(self.batch_of(task, batch), training) for task in self.tasks}
        return {name: tensors for name, tensors in found.items() if tensors}

    def forward(
        self, batch: Batch, scales: Tensors, training: bool, shared: Mapping[str, SharedTensors] | None = None
    ) -> tuple[Tensor, dict[str, dict[str, Any]]]:
        """Losses of one micro-batch, or of one replica's share of it.

        Args:
            batch: dict of task name to tensors.
            scales: dict of task name to float32 scalar, from `scales`.
            training: bool.
            shared: dict of task name to `SharedTensors`; None where there is one replica.

        Returns:
            (total, results): float32 scalar `sum_t scale_t * loss_sum_t`, and a dict of task name to the task's
            `TaskResult.as_dict()`.
        """
        results = {}
        total = ops.zeros((), "float32")
        for tasks in self.task_groups:
            loss, more_results = self.group_loss(tasks, batch, scales, training, shared)
            total = total + loss
            results.update(more_results)
        return total, results

    def group_loss(
        self,
        tasks: Sequence[PretextTask],
        batch: Batch,
        scales: Tensors,
        training: bool,
        shared: Mapping[str, SharedTensors] | None = None,
    ) -> tuple[Tensor, dict[str, dict[str, Any]]]:
        """`forward` of some tasks alone, for instance of one of `task_groups`: equal inputs are encoded once."""
        total, results = None, {}
        with self.encoder.one_pass_for_equal_inputs():
            for task in tasks:
                name = task.task_name
                result = task.result(self.batch_of(task, batch), training, (shared or {}).get(name))
                loss = scales[name] * result.loss_sum
                for key, further in result.further.items():
                    loss = loss + scales[f"{name}.{key}"] * further["loss_sum"]
                total = loss if total is None else total + loss
                results[name] = result.as_dict()
        return total, results

    def token_counts(self, batch: Batch, replicas: int = 1) -> Tensors:
        """dict of float32 scalars: `tokens`, those of `batch`, and `positions`, the padded ones included.

        Also `tflop`, of the update, in units of 10^12, if all tasks state their FLOPs; `batch` is one of `replicas`
        equal parts, and so is this number.
        """
        masks = [mask for task in batch.values() for name, mask in task.items() if name.endswith("padding_mask")]
        counts = {
            "tokens": sum(ops.sum(ops.cast(mask, "float32")) for mask in masks),
            "positions": sum(ops.cast(ops.size(mask), "float32") for mask in masks),
        }
        if self.states_flops:
            counts["tflop"] = ops.convert_to_tensor(self.flops(batch, replicas) / replicas / 1e12, "float32")
        return counts

    def flops(self, batch: Batch, replicas: int = 1) -> Number:
        """Model FLOPs of one update, a number, or a float32 scalar if a shape of `batch` is not static.

        Args:
            batch: dict of task name to tensors, all micro-batches end to end.
            replicas: int; `batch` is one of as many equal parts.

        Raises:
            InputError: if a task does not state its FLOPs, see `states_flops`.
        """
        total: Number = 0.0
        for task in self.tasks:
            shapes = {name: _shape(tensor, replicas) for name, tensor in self.batch_of(task, batch).items()}
            flops = task.flops(shapes, self.accumulation_steps)
            if flops is None:
                raise InputError(f"flops: the task {task.task_name} does not state its FLOPs")
            total = total + flops
        return total

    def micro_batch(self, batch: Batch, index: int | Tensor) -> Batch:
        """Micro-batch `index` (int or int32 scalar) of `accumulation_steps`; the batch itself if that is 1.

        Its number of samples is static if that of `batch` is, even if other dimensions are unknown (the length of a
        bucket): replicas need it to join their keys.
        """
        if self.accumulation_steps == 1:
            return batch

        def part(tensor):
            samples = tensor.shape[0]
            share = -1 if samples is None else samples // self.accumulation_steps
            parts = ops.reshape(tensor, (self.accumulation_steps, share, *ops.shape(tensor)[1:]))
            return ops.take(parts, index, axis=0)

        return tree.map_structure(part, batch)

    def is_whole(self, batch: Batch) -> bool:
        """Whether `batch` is computed at once: a step has one micro-batch, or the batch cannot be cut into several."""
        sizes = {tensor.shape[0] for tensor in tree.flatten(batch)} - {None}
        return self.accumulation_steps == 1 or any(size % self.accumulation_steps for size in sizes)

    def after_backward(self, results: dict[str, dict[str, Any]]) -> None:
        """Gives each task its state of a micro-batch (XLCO: keys into the queue)."""
        for task in self.tasks:
            task.after_backward(results[task.task_name]["state"])

    def after_update(self, step: Tensor) -> None:
        """Updates each task after the optimizer's update number `step` (XLCO: moving average)."""
        for task in self.tasks:
            task.after_update(step)

    def padding_row(self) -> Tensor:
        """The token embedding's row of `<pad>`, [1, dim]; read it before an update and restore it after."""
        return ops.convert_to_tensor(self.backbone.token_embedding.embeddings)[PAD_ID : PAD_ID + 1] + 0.0

    def count_step(self, finite: Tensor) -> None:
        """Counts an update whose gradients were not finite, and adapts the loss scale (float16 only)."""
        skipped = 1 - ops.cast(finite, "int32")
        self.skipped_steps.assign(self.skipped_steps + skipped)
        self.consecutive_skipped_steps.assign((self.consecutive_skipped_steps + 1) * skipped)
        if self.uses_loss_scale:
            scale, finite_steps = next_loss_scale(
                ops.convert_to_tensor(self.loss_scale), ops.convert_to_tensor(self.finite_steps), finite
            )
            self.loss_scale.assign(scale)
            self.finite_steps.assign(finite_steps)


def _shape(tensor, replicas):
    """Shape of the whole batch of which `tensor` is one of `replicas` parts; float32 scalars for unknown sizes."""
    sizes = zip(tensor.shape, ops.shape(tensor), strict=True)
    shape = [size if size is not None else ops.cast(dynamic, "float32") for size, dynamic in sizes]
    return (shape[0] * replicas, *shape[1:])
