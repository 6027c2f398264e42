"""The training step on JAX: the same parts as on the other backends, with all state passed in and out.

The devices of a `DataParallel` distribution communicate as the replicas of TensorFlow's step do: they join counts and
keys before the forward pass, and sum gradients and losses once after it. Under `ModelParallel` the step is written for
the whole batch, and the compiler adds the communication.
"""

import functools
from typing import Any

import jax
import keras
from keras import StatelessScope

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.data.sharding import parts_end_to_end
from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.distribution.inputs import distribute_batches, parts_of_process
from infoxlm_keras.distribution.jax_replicas import JaxReplicas
from infoxlm_keras.tasks.pretext_task import SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.gradients import clip_by_norm, global_norm
from infoxlm_keras.training.step.base import StepParts


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step` in Keras' stateless form."""

    def train_step(self, state: tuple[Any, ...], data: Any) -> tuple[Tensors, tuple[Any, ...]]:
        """One update. On several devices of a `DataParallel` distribution they exchange counts, keys and gradients."""
        trainable, non_trainable, optimizer, metrics = state
        replicas = JaxReplicas.current()
        with self._scope(trainable, non_trainable, optimizer):
            step = self.training_updates
            loss_scale = jax.numpy.asarray(self.loss_scale.value)
        values = (list(trainable), list(non_trainable), step, loss_scale)
        loss, gradients, results, token_counts, non_trainable = replicas.run(
            functools.partial(self._on_replica, replicas), values, unpack_batch(data)
        )

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

        def add_to_metrics(metrics, results):
            with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
                self.update_task_metrics(results)
            return _values(scope, self.metrics_variables), None

        metrics, _ = _for_each(add_to_metrics, list(metrics), results)
        with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
            self.count_step(finite)
            self.update_step_metrics(token_counts, loss, norm)
            logs = self.metric_results()
        non_trainable = _values(scope, self.non_trainable_variables)
        metrics = _values(scope, self.metrics_variables)
        return logs, (trainable, non_trainable, optimizer, metrics)

    def restore_padding_row(self, row: Tensor) -> None:
        """Restores the row of `<pad>`, which gradients of the tied output and weight decay must not change."""
        embeddings = self.backbone.token_embedding.embeddings
        embeddings.assign(jax.lax.dynamic_update_slice(embeddings.value, row, (PAD_ID, 0)))

    def _on_replica(self, replicas, values, batch):
        """(loss, gradients of loss * loss_scale, results of each micro-batch, token counts, non-trainable values).

        All of them are those of the whole batch, of which `batch` is this replica's part.
        """
        trainable, non_trainable, step, loss_scale = values
        counts, token_counts = replicas.sum((self.prediction_counts(batch), self.token_counts(batch, replicas.count)))
        with self._scope(trainable, non_trainable):
            scales = self.scales(counts, step)
        micro_batches = self._micro_batches(batch, replicas)
        shared = self._shared(replicas, trainable, non_trainable, micro_batches)
        seeds = self._seed_indices()
        non_trainable = _replaced(non_trainable, seeds, replicas.own_seeds)

        def micro_step(carry, inputs):
            loss, gradients, non_trainable = carry
            micro_batch, tensors = inputs
            (_, (more_loss, results, non_trainable)), more = jax.value_and_grad(self._loss, has_aux=True)(
                trainable, non_trainable, micro_batch, scales, loss_scale, _shared_tensors(tensors, replicas)
            )
            with self._scope(trainable, non_trainable) as scope:
                self.after_backward(results)
            non_trainable = _values(scope, self.non_trainable_variables)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            results = {
                task: {key: result[key] for key in result if key != "state"} for task, result in results.items()
            }
            return (loss + more_loss, gradients, non_trainable), results

        zeros = [jax.numpy.zeros_like(value) for value in trainable]
        carry = (jax.numpy.zeros(()), zeros, non_trainable)
        (loss, gradients, non_trainable), results = _for_each(micro_step, carry, (micro_batches, shared))
        candidates = {task: result["num_candidates"] for task, result in results.items()}
        loss, gradients, results = replicas.sum((loss, gradients, results))
        results = {task: {**result, "num_candidates": candidates[task]} for task, result in results.items()}
        return loss, gradients, results, token_counts, _replaced(non_trainable, seeds, replicas.common_seeds)

    def _shared(self, replicas, trainable, non_trainable, micro_batches):
        """dict of task name to tensors [micro-batches, samples of all replicas, ...]; empty on one replica.

        The key encoder does not change within an update, so the keys of all micro-batches can be computed first.
        """
        if replicas.count == 1:
            return {}

        def of_one(nothing, micro_batch):
            with self._scope(trainable, non_trainable):
                return nothing, self.shared(micro_batch)

        _, shared = _for_each(of_one, None, micro_batches)
        return replicas.join(shared, axis=1)

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

    def _micro_batches(self, batch, replicas):
        """`batch` with a new first dimension, the micro-batches."""
        distribution = keras.distribution.distribution()

        def parts(tensor):
            tensor = tensor.reshape(self.accumulation_steps, -1, *tensor.shape[1:])
            if distribution is None or replicas.count > 1:
                return tensor
            # Without a new layout, the first devices of `ModelParallel` would hold all of the first micro-batches.
            axes = [None, distribution.batch_dim_name] + [None] * (tensor.ndim - 2)
            return keras.distribution.distribute_tensor(
                tensor, keras.distribution.TensorLayout(axes, distribution.device_mesh)
            )

        return jax.tree.map(parts, batch)

    def _seed_indices(self):
        """Places of the seed generators' states among the non-trainable variables."""
        generators = [g for layer in self._flatten_layers() for g in getattr(layer, "_seed_generators", ())]
        states = {id(generator.state) for generator in generators}
        return [index for index, variable in enumerate(self.non_trainable_variables) if id(variable) in states]

    def _loss(self, trainable, non_trainable, batch, scales, loss_scale, shared):
        """(loss * loss_scale, (loss, results, non-trainable values)) of one micro-batch, for `jax.grad`."""
        with self._scope(trainable, non_trainable) as scope:
            loss, results = self.forward(batch, scales, training=True, shared=shared)
        return loss * loss_scale, (loss, results, _values(scope, self.non_trainable_variables))

    # === What `fit` calls ===

    def fit(self, x: Any = None, *arguments: Any, **keywords: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a data set is one of global batches, of which each device gets its part."""
        if JaxReplicas.current().count > 1:
            x = distribute_batches(x, self.accumulation_steps)
        return super().fit(x, *arguments, **keywords)

    def train_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.train_on_batch`, on a global batch."""
        count = JaxReplicas.current().count
        if current_distribution().num_workers > 1:
            x = parts_of_process(x, self.accumulation_steps)
        else:
            x = parts_end_to_end(x, count, self.accumulation_steps)
        return super().train_on_batch(x, *arguments, **keywords)

    def evaluate(self, x: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.evaluate`; a data set is one of global batches, of which each process gets its part."""
        if current_distribution().num_workers > 1:
            x = distribute_batches(x)
        return super().evaluate(x, *arguments, **keywords)

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


def _replaced(values, indices, function):
    """`values` with those at `indices` replaced by `function` of them."""
    values = list(values)
    for index, value in zip(indices, function([values[index] for index in indices]), strict=True):
        values[index] = value
    return values


def _for_each(function, carry, inputs):
    """`jax.lax.scan`; without a loop if there is one micro-batch."""
    if jax.tree.leaves(inputs)[0].shape[0] > 1:
        return jax.lax.scan(function, carry, inputs)
    carry, outputs = function(carry, jax.tree.map(lambda array: array[0], inputs))
    return carry, jax.tree.map(lambda array: array[None], outputs)


def _shared_tensors(tensors_by_task, replicas):
    """dict of task name to `SharedTensors` of one micro-batch; None where there is one replica."""
    if replicas.count == 1:
        return None

    def shared(tensors):
        samples = next(iter(tensors.values())).shape[0] // replicas.count
        return SharedTensors(tensors, replicas.index() * samples)

    return {task: shared(tensors) for task, tensors in tensors_by_task.items()}
