"""The training step on JAX: the same parts as on the other backends, with all state passed in and out."""

from typing import Any

import jax
import keras
from keras import StatelessScope

from infoxlm_keras.annotations import Batch, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.training.gradients import clip_by_norm, global_norm
from infoxlm_keras.training.step.base import StepParts


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step` in Keras' stateless form."""

    def train_step(self, state: tuple[Any, ...], data: Any) -> tuple[Tensors, tuple[Any, ...]]:
        trainable, non_trainable, optimizer, metrics = state
        batch = unpack_batch(data)
        with self._scope(trainable, non_trainable, optimizer, metrics):
            step = self.training_updates
            scales = self.scales(self.prediction_counts(batch), step)
            loss_scale = jax.numpy.asarray(self.loss_scale.value)

        def micro_step(carry, micro_batch):
            loss, gradients, non_trainable, metrics = carry
            (_, (more_loss, results, non_trainable)), more = jax.value_and_grad(self._loss, has_aux=True)(
                trainable, non_trainable, micro_batch, scales, loss_scale
            )
            with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
                self.after_backward(results)
                self.update_task_metrics(results)
            non_trainable = _values(scope, self.non_trainable_variables)
            metrics = _values(scope, self.metrics_variables)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            return (loss + more_loss, gradients, non_trainable, metrics), None

        zeros = [jax.numpy.zeros_like(value) for value in trainable]
        carry = (jax.numpy.zeros(()), zeros, list(non_trainable), list(metrics))
        if self.accumulation_steps == 1:
            carry, _ = micro_step(carry, batch)
        else:
            carry, _ = jax.lax.scan(micro_step, carry, self._micro_batches(batch))
        loss, gradients, non_trainable, metrics = carry

        gradients = [gradient / loss_scale.astype(gradient.dtype) for gradient in gradients]
        norm = global_norm(gradients)
        finite = jax.numpy.isfinite(norm)
        gradients = clip_by_norm(gradients, norm, self.clip_norm)

        def update(trainable, non_trainable, optimizer):
            with self._scope(trainable, non_trainable):
                padding_row = self.padding_row()
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
                self.restore_padding_row(padding_row)
                self.after_update(step)
            trainable = _values(scope, self.trainable_variables)
            return trainable, _values(scope, self.non_trainable_variables), list(optimizer)

        trainable, non_trainable, optimizer = jax.lax.cond(
            finite, update, lambda *values: values, list(trainable), list(non_trainable), list(optimizer)
        )
        with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
            self.count_step(finite)
            self.update_step_metrics(self.token_counts(batch), loss, norm)
            logs = self.metric_results()
        non_trainable = _values(scope, self.non_trainable_variables)
        metrics = _values(scope, self.metrics_variables)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def test_step(self, state: tuple[Any, ...], data: Any) -> tuple[Tensors, tuple[Any, ...]]:
        trainable, non_trainable, metrics = state
        batch = unpack_batch(data)
        with self._scope(trainable, non_trainable, None, metrics) as scope:
            scales = self.scales(self.prediction_counts(batch), self.training_updates)
            loss, results = self.forward(batch, scales, training=False)
            self.update_task_metrics(results)
            self.total_loss_metric.update_state(loss)
            logs = self.metric_results()
        return logs, (trainable, non_trainable, _values(scope, self.metrics_variables))

    def shared_by_all(self, batch: Batch) -> dict[str, Tensors]:
        """`shared` of a whole batch."""
        return self.shared(batch)

    def _micro_batches(self, batch):
        """`batch` with a new first dimension, the micro-batches; each of them spread over all devices."""
        distribution = keras.distribution.distribution()

        def parts(tensor):
            tensor = tensor.reshape(self.accumulation_steps, -1, *tensor.shape[1:])
            if distribution is None:
                return tensor
            # Without a new layout, the first devices would hold all of the first micro-batches.
            axes = [None, distribution.batch_dim_name] + [None] * (tensor.ndim - 2)
            return keras.distribution.distribute_tensor(
                tensor, keras.distribution.TensorLayout(axes, distribution.device_mesh)
            )

        return jax.tree.map(parts, batch)

    def _loss(self, trainable, non_trainable, batch, scales, loss_scale):
        """(loss * loss_scale, (loss, results, non-trainable values)) of one micro-batch, for `jax.grad`."""
        with self._scope(trainable, non_trainable) as scope:
            loss, results = self.forward(batch, scales, training=True)
        return loss * loss_scale, (loss, results, _values(scope, self.non_trainable_variables))

    def _scope(self, trainable, non_trainable, optimizer=None, metrics=None):
        mapping = list(zip(self.trainable_variables, trainable, strict=True))
        mapping += zip(self.non_trainable_variables, non_trainable, strict=True)
        if optimizer is not None:
            mapping += zip(self.optimizer.variables, optimizer, strict=True)
        if metrics is not None:
            mapping += zip(self.metrics_variables, metrics, strict=True)
        return StatelessScope(state_mapping=mapping)


def _values(scope, variables):
    return [scope.get_current_value(variable) for variable in variables]
