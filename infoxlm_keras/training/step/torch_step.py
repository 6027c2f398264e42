"""The training step on PyTorch, on one device or on those of several processes.

Processes communicate at three points of a step, as on the other backends: they sum their counts and gather their keys
before the forward pass, and sum gradients and losses once after the last micro-batch.

`torch.compile` cannot take the step as a whole: Dynamo leaves its graph at each `backward()`, of which a step has one
a micro-batch, at Keras' variables, and at the choice whether the gradients are finite. On a GPU it fuses the
Transformer layers and the masked-LM loss (`models.torch_program`).
"""

from typing import Any

import keras
import torch

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.distribution.inputs import distribute_batches, parts_of_process
from infoxlm_keras.distribution.torch_replicas import TorchReplicas
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.torch_layers import compute_by_torch, weights_cast_once
from infoxlm_keras.models.torch_program import compiling, reason_not_to_compile
from infoxlm_keras.models.torch_table import added_in_place, look_up_in_place
from infoxlm_keras.tasks.pretext_task import SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.dropout_seeds import seeds_restored
from infoxlm_keras.training.fused_adamw import update_by_fused_kernel
from infoxlm_keras.training.step.parts import StepParts
from infoxlm_keras.training.torch_norm import exact_global_norm


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step`."""

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        jit_compile: bool = False,
        steps_per_execution: int = 1,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`. `jit_compile` is for GPUs; on a CPU a line is printed that it is left off.

        Raises:
            InputError: for several steps an execution, which Keras does not have on PyTorch.
        """
        if steps_per_execution != 1:
            raise InputError(
                f"steps_per_execution = {steps_per_execution}: on PyTorch Keras runs one step at a time; give --set "
                "steps_per_execution=1, or set KERAS_BACKEND=tensorflow"
            )
        reason = reason_not_to_compile(self.backbone.token_embedding.embeddings.value.device)
        self._compiles = jit_compile and reason is None
        if jit_compile and not self._compiles:
            print(f"jit_compile: left off, {reason}", flush=True)
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        self._torch_layers = compute_by_torch(self._flatten_layers())
        look_up_in_place(self.backbone.token_embedding)
        update_by_fused_kernel(optimizer)
        draw_dropout_from_its_seed(self)

    def train_step(self, data: Any) -> Tensors:
        batch = self._prepared(unpack_batch(data))
        replicas = TorchReplicas()
        step = self.training_updates
        counts, token_counts = replicas.sum((self.prediction_counts(batch), self.token_counts(batch, replicas.count)))
        scales = self.scales(counts, step)
        variables = self.trainable_variables
        # Not Module.zero_grad(): it misses the variables of tasks, which are made outside build().
        for variable in variables:
            variable.value.grad = None

        loss, results = 0.0, []
        table = self.backbone.token_embedding.embeddings.value
        with weights_cast_once(self._torch_layers), added_in_place(table), compiling(self._compiles):
            shared = self._gathered(batch, replicas) if self.gathers else self._shared(batch, replicas)
            with replicas.own_seeds(self):
                for index in range(self.accumulation_steps):
                    micro_batch = self.micro_batch(batch, index)
                    result = {}
                    for tasks in self.task_groups:
                        # One by one: the activations of a task are gone before those of the next one come.
                        arguments = (micro_batch, scales, True, self._micro_shared(shared, index))
                        own_loss, own_results = self.group_loss(tasks, *arguments)
                        result.update(own_results)
                        # backward() adds to .grad, which is the accumulation.
                        (own_loss * self.loss_scale.value if self.uses_loss_scale else own_loss).backward()
                        loss = loss + own_loss.detach()
                    with torch.no_grad():
                        self.after_backward(result)
                    results.append(_detached(result))

        with torch.no_grad():
            gradients = [
                torch.zeros_like(variable.value) if variable.value.grad is None else variable.value.grad
                for variable in variables
            ]
            loss, results, gradients = _summed(replicas, loss, results, gradients)
            if self.uses_loss_scale:
                torch._foreach_mul_(gradients, 1.0 / self.loss_scale.value)
            norm = exact_global_norm(gradients)
            finite = torch.isfinite(norm)
            if finite:
                padding_row = self.padding_row()
                if self.clip_norm is not None:
                    torch._foreach_mul_(gradients, self.clip_norm / norm.clamp_min(self.clip_norm))
                self.optimizer.apply(gradients, variables)
                self.restore_padding_row(padding_row)
                self.after_update(step)
            # After the update, which a GPU computes meanwhile.
            for result in results:
                self.update_task_metrics(result)
            self.count_step(finite)
            self.update_step_metrics(token_counts, loss, norm)
            return self.metric_results()

    def restore_padding_row(self, row: Tensor) -> None:
        """Restores the row of `<pad>`, which gradients of the tied output and weight decay must not change."""
        # In place; `ops.slice_update` copies the table.
        with torch.no_grad():
            self.backbone.token_embedding.embeddings.value[PAD_ID] = row[0]

    def test_step(self, data: Any) -> Tensors:
        """Losses and metrics of one batch without any update."""
        batch = unpack_batch(data)
        batch = self.with_prepared(batch, self.prepared(batch)) if self.prepares else batch
        replicas = TorchReplicas()
        scales = self.scales(replicas.sum(self.prediction_counts(batch)), self.training_updates)
        # One batch, whatever the number of micro-batches in training.
        shared = None
        if replicas.count > 1:
            own = self.gathered(batch, training=False) if self.gathers else self.shared(batch)
            shared = self._micro_shared(self._joined([own], replicas), 0)
        loss, results = self.forward(batch, scales, training=False, shared=shared)
        loss, (results,), _ = _summed(replicas, loss, [_detached(results)], [])
        self.update_task_metrics(results, training=False)
        self.total_loss_metric.update_state(loss)
        return self.metric_results()

    def shared_by_all(self, batch: Batch) -> dict[str, Tensors]:
        """`shared` of a whole batch, computed a micro-batch at a time."""
        if self.is_whole(batch):
            return self.shared(batch)
        with torch.no_grad():
            parts = [self.shared(self.micro_batch(batch, index)) for index in range(self.accumulation_steps)]
        return keras.tree.map_structure(lambda *tensors: torch.cat(tensors), *parts)

    def _prepared(self, batch):
        """`batch` with what the tasks prepare."""
        if not self.prepares:
            return batch
        with torch.no_grad():
            parts = [self.prepared(self.micro_batch(batch, index)) for index in range(self.accumulation_steps)]
        return self.with_prepared(batch, keras.tree.map_structure(lambda *tensors: torch.cat(tensors), *parts))

    # === Replicas ===

    def _shared(self, batch, replicas):
        """dict of task name to `SharedTensors` of tensors [micro-batches, samples of all replicas, ...]; None on one.

        The key encoder does not change within an update, so the keys of all micro-batches can be computed first.
        """
        if replicas.count == 1:
            return None
        with torch.no_grad():
            parts = [self.shared(self.micro_batch(batch, index)) for index in range(self.accumulation_steps)]
        return self._joined(parts, replicas)

    def _gathered(self, batch, replicas):
        """As `_shared`, of what the update needs as a whole; None if one replica has it in one micro-batch."""
        if replicas.count * self.accumulation_steps == 1:
            return None
        with torch.no_grad(), replicas.own_seeds(self), seeds_restored(self):
            parts = [self.gathered(self.micro_batch(batch, index), True) for index in range(self.accumulation_steps)]
        return self._joined(parts, replicas)

    def _micro_shared(self, shared, index):
        """`shared` of micro-batch `index`."""
        if shared is None:
            return None
        if self.gathers:
            return {
                task: SharedTensors.of_update(part.tensors, index, part.first_row) for task, part in shared.items()
            }
        return {
            task: SharedTensors({name: tensor[index] for name, tensor in part.tensors.items()}, part.first_row)
            for task, part in shared.items()
        }

    def _joined(self, parts, replicas):
        """`SharedTensors` by task of a list with each micro-batch's tensors."""
        found = {}
        for task, tensors in parts[0].items():
            stacked = {name: torch.stack([part[task][name] for part in parts]) for name in tensors}
            samples = next(iter(stacked.values())).shape[1]
            joined = {name: replicas.join(tensor, axis=1) for name, tensor in stacked.items()}
            found[task] = SharedTensors(joined, replicas.index * samples)
        return found

    # === What `fit` calls ===

    def fit(self, x: Any = None, *arguments: Any, **keywords: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a data set is one of global batches, of which each process gets its part."""
        if current_distribution().num_workers > 1:
            TorchReplicas().copy_from_first([*self.variables, *self.optimizer.variables])
            x = distribute_batches(x, self.accumulation_steps)
        return super().fit(x, *arguments, **keywords)

    def train_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.train_on_batch`, on a global batch."""
        if current_distribution().num_workers > 1:
            x = parts_of_process(x, self.accumulation_steps)
        # Keras converts what `fit` reads, and not this; NumPy arrays do not mix with tensors that have gradients.
        x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
        return super().train_on_batch(x, *arguments, **keywords)

    def test_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.test_on_batch`, on a global batch."""
        if current_distribution().num_workers > 1:
            x = parts_of_process(x)
        x = keras.tree.map_structure(keras.ops.convert_to_tensor, x)
        return super().test_on_batch(x, *arguments, **keywords)

    def evaluate(self, x: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.evaluate`; a data set is one of global batches, of which each process gets its part."""
        if current_distribution().num_workers > 1:
            x = distribute_batches(x)
        return super().evaluate(x, *arguments, **keywords)


def _summed(replicas, loss, results, gradients):
    """All three over all replicas: sums, but for the numbers of candidates, which are the same on each."""
    candidates = [{task: result[task]["num_candidates"] for task in result} for result in results]
    loss, results, gradients = replicas.sum((loss, results, gradients))
    results = [
        {task: {**result[task], "num_candidates": own[task]} for task in result}
        for result, own in zip(results, candidates, strict=True)
    ]
    return loss, results, gradients


def _detached(results):
    """`results` of one micro-batch without their graph, and without the tasks' state."""
    kept = {task: {key: result[key] for key in result if key != "state"} for task, result in results.items()}
    return keras.tree.map_structure(lambda tensor: tensor.detach(), kept)


def draw_dropout_from_its_seed(model: keras.Model) -> None:
    """Makes dropout draw from the state of its seed generator, which is part of a checkpoint.

    For a layer without a seed Keras uses PyTorch's global generator, and a resumed run would draw other numbers.
    """
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", ()):
            if generator._initial_seed is None:
                generator._initial_seed = int(generator.state.value[0])
