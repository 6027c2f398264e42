"""The training step on PyTorch. It runs eagerly.

`torch.compile` gains nothing here: Dynamo leaves its graph at each `backward()`, of which a step has one a
micro-batch, at Keras' variables, and at the choice whether the gradients are finite.
"""

from typing import Any

import keras
import torch

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.gradients import clip_by_norm, global_norm
from infoxlm_keras.training.step.base import StepParts

NOT_COMPILED = "jit_compile: left off, on PyTorch the step runs eagerly; KERAS_BACKEND=tensorflow or jax compile it"


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step`."""

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer,
        jit_compile: bool = False,
        steps_per_execution: int = 1,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`. The step is never compiled; with `jit_compile` a line is printed that says so.

        Raises:
            InputError: for several steps an execution, which Keras does not have on PyTorch.
        """
        if steps_per_execution != 1:
            raise InputError(
                f"steps_per_execution = {steps_per_execution}: on PyTorch Keras runs one step at a time; give --set "
                "steps_per_execution=1, or set KERAS_BACKEND=tensorflow"
            )
        if jit_compile:
            print(NOT_COMPILED, flush=True)
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        draw_dropout_from_its_seed(self)

    def train_step(self, data: Any) -> Tensors:
        batch = unpack_batch(data)
        step = self.training_updates
        scales = self.scales(self.prediction_counts(batch), step)
        variables = self.trainable_variables
        # Not Module.zero_grad(): it misses the variables of tasks, which are made outside build().
        for variable in variables:
            variable.value.grad = None

        loss = 0.0
        for index in range(self.accumulation_steps):
            # backward() adds to .grad, which is the accumulation.
            micro_loss, results = self.forward(self.micro_batch(batch, index), scales, training=True)
            (micro_loss * self.loss_scale.value).backward()
            loss = loss + micro_loss.detach()
            with torch.no_grad():
                self.after_backward(results)
                self.update_task_metrics(results)

        with torch.no_grad():
            scale = self.loss_scale.value
            gradients = [
                torch.zeros_like(variable.value) if variable.value.grad is None else variable.value.grad / scale
                for variable in variables
            ]
            norm = global_norm(gradients)
            finite = torch.isfinite(norm)
            if finite:
                padding_row = self.padding_row()
                self.optimizer.apply(clip_by_norm(gradients, norm, self.clip_norm), variables)
                self.restore_padding_row(padding_row)
                self.after_update(step)
            self.count_step(finite)
            self.update_step_metrics(self.token_counts(batch), loss, norm)
            return self.metric_results()

    def restore_padding_row(self, row: Tensor) -> None:
        """Restores the row of `<pad>`, which gradients of the tied output and weight decay must not change."""
        # In place; `ops.slice_update` copies the table.
        self.backbone.token_embedding.embeddings.value[PAD_ID] = row[0]

    def test_step(self, data: Any) -> Tensors:
        """Losses and metrics of one batch without any update."""
        batch = unpack_batch(data)
        scales = self.scales(self.prediction_counts(batch), self.training_updates)
        loss, results = self.forward(batch, scales, training=False)
        self.update_task_metrics(results)
        self.total_loss_metric.update_state(loss)
        return self.metric_results()

    def shared_by_all(self, batch: Batch) -> dict[str, Tensors]:
        """`shared` of a whole batch."""
        return self.shared(batch)


def draw_dropout_from_its_seed(model: keras.Model) -> None:
    """Makes dropout draw from the state of its seed generator, which is part of a checkpoint.

    For a layer without a seed Keras uses PyTorch's global generator, and a resumed run would draw other numbers.
    """
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", ()):
            if generator._initial_seed is None:
                generator._initial_seed = int(generator.state.value[0])
