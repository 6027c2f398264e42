"""The training step on JAX: the same parts as on the other backends, with all state passed in and out.

The devices of a `DataParallel` distribution communicate as the replicas of TensorFlow's step do: they join counts and
keys before the forward pass, and sum gradients and losses once after it. Under `fsdp` each holds a part of the encoder
and of the optimizer's state; they also join the weights for each micro-batch, and each gets its part of the summed
gradients. Under `model_parallel` the step is written for the whole batch, and the compiler adds the communication.
"""

import dataclasses
import functools
from typing import Any

import jax
import keras
from jax.sharding import PartitionSpec
from keras import StatelessScope

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.data.sharding import parts_end_to_end
from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.distribution.inputs import distribute_batches, parts_of_process
from infoxlm_keras.distribution.jax_replicas import JaxReplicas, cut_dimension, replaced
from infoxlm_keras.tasks.pretext_task import SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.dropout_seeds import seed_states
from infoxlm_keras.training.gradients import clip_by_norm, global_norm, unscaled
from infoxlm_keras.training.step.parts import StepParts


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step` in Keras' stateless form."""

    _weights_of_test: tuple[float, ...] = ()

    def train_step(self, state: tuple[Any, ...], data: Any) -> tuple[Tensors, tuple[Any, ...]]:
        """One update, by all devices of the distribution."""
        trainable, non_trainable, optimizer, metrics = state
        replicas = JaxReplicas.current()
        with self._scope(trainable, non_trainable, optimizer):
            step = self.training_updates
            loss_scale = jax.numpy.asarray(self.loss_scale.value)
        values = (list(trainable), list(non_trainable), step, loss_scale)
        places = Places.of(self, replicas)
        loss, gradients, results, token_counts, non_trainable = replicas.run(
            functools.partial(self._on_replica, replicas, places),
            values,
            unpack_batch(data),
            (places.trainable, places.non_trainable, PartitionSpec(), PartitionSpec()),
            (PartitionSpec(), places.trainable, PartitionSpec(), PartitionSpec(), places.non_trainable),
        )

        gradients = unscaled(gradients, loss_scale) if self.uses_loss_scale else gradients
        norm = global_norm(gradients)
        finite = jax.numpy.isfinite(norm)

        def update(gradients, trainable, non_trainable, optimizer):
            # Scaled in here, where the compiler fuses it with the update.
            gradients = clip_by_norm(gradients, norm, self.clip_norm)
            with self._scope(trainable, non_trainable):
                padding_row = self.padding_row()
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            with self._scope(trainable, non_trainable, optimizer, metrics) as scope:
                self.restore_padding_row(padding_row)
                self.after_update(step)
            trainable = _values(scope, self.trainable_variables)
            return trainable, _values(scope, self.non_trainable_variables), list(optimizer)

        trainable, non_trainable, optimizer = _cond(
            finite,
            update,
            lambda _, *values: values,
            gradients,
            list(trainable),
            list(non_trainable),
            list(optimizer),
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

    def padding_row(self) -> Tensor:
        """The token embedding [vocabulary_size, dim], whose row of `<pad>` is restored after the update.

        All of it: an update that read one row of the old embedding for every row could not be written in its place.
        """
        return self.backbone.token_embedding.embeddings.value

    def restore_padding_row(self, row: Tensor) -> None:
        """Restores the row of `<pad>`, which gradients of the tied output and weight decay must not change."""
        embeddings = self.backbone.token_embedding.embeddings
        # A choice for each row, which the compiler fuses with the update.
        is_row = jax.numpy.arange(embeddings.shape[0])[:, None] == PAD_ID
        embeddings.assign(jax.numpy.where(is_row, row, embeddings.value))

    def _on_replica(self, replicas, places, values, batch):
        """(loss, gradients of loss * loss_scale, results of each micro-batch, token counts, non-trainable values).

        All of them are those of the whole batch, of which `batch` is this replica's part. Of weights that are cut,
        `values`, gradients and non-trainable values are parts.
        """
        trainable, parts, step, loss_scale = values
        # Scopes take whole variables. The compiler leaves out the messages for those that nothing reads.
        weights, non_trainable = (
            replicas.whole(trainable, places.trainable),
            replicas.whole(parts, places.non_trainable),
        )
        batch = self._prepared(batch, replicas, weights, non_trainable)
        counts, token_counts = replicas.sum((self.prediction_counts(batch), self.token_counts(batch, replicas.count)))
        with self._scope(weights, non_trainable):
            scales = self.scales(counts, step)
        micro_batches = self._micro_batches(batch, replicas)
        shared = self._shared(replicas, weights, non_trainable, micro_batches)
        seeds = self._seed_indices()
        non_trainable = _changed(non_trainable, seeds, replicas.own_seeds)
        gathered = self._gathered(replicas, weights, non_trainable, micro_batches)

        def micro_step(carry, inputs):
            index, micro_batch, tensors = inputs
            seen = _seen_by(tensors, gathered, index, replicas)

            def backward(tasks, carry):
                loss, gradients, non_trainable = carry

                def loss_of(trainable):
                    arguments = (micro_batch, scales, loss_scale, seen)
                    return self._loss(tasks, replicas.whole(trainable, places.trainable), non_trainable, *arguments)

                (_, (more_loss, results, non_trainable)), more = jax.value_and_grad(loss_of, has_aux=True)(trainable)
                gradients = more if gradients is None else [a + b for a, b in zip(gradients, more, strict=True)]
                return (loss + more_loss, gradients, non_trainable), results

            results = {}
            for tasks in self._groups(places):
                carry, more_results = _in_one_piece(functools.partial(backward, tasks), carry, step)
                results.update(more_results)
            loss, gradients, non_trainable = carry
            with self._scope(weights, non_trainable) as scope:
                self.after_backward(results)
            non_trainable = _values(scope, self.non_trainable_variables)
            results = {
                task: {key: result[key] for key in result if key != "state"} for task, result in results.items()
            }
            return (loss, gradients, non_trainable), results

        # A loop over micro-batches must begin with zeros. Without one, the first task's activations and zeros as large
        # as all weights would lie side by side.
        loops = self.accumulation_steps > 1
        zeros = [jax.numpy.zeros_like(value) for value in trainable] if loops else None
        carry = (jax.numpy.zeros(()), zeros, non_trainable)
        indices = jax.numpy.arange(self.accumulation_steps)
        (loss, gradients, non_trainable), results = _for_each(micro_step, carry, (indices, micro_batches, shared))
        candidates = {task: result["num_candidates"] for task, result in results.items()}
        gradients, (loss, results) = replicas.sum_gradients(gradients, places.trainable, (loss, results))
        results = {task: {**result, "num_candidates": candidates[task]} for task, result in results.items()}
        non_trainable = _changed(non_trainable, seeds, replicas.common_seeds)
        # A cut variable of these is one of the key encoder, which changes after the update only.
        cut = [number for number, place in enumerate(places.non_trainable) if cut_dimension(place) is not None]
        return loss, gradients, results, token_counts, replaced(non_trainable, cut, [parts[number] for number in cut])

    def _prepared(self, batch, replicas, trainable, non_trainable):
        """`batch` with what the tasks prepare."""
        if not self.prepares:
            return batch

        def of_one(nothing, micro_batch):
            with self._scope(trainable, non_trainable):
                return nothing, self.prepared(micro_batch)

        _, found = _for_each(of_one, None, self._micro_batches(batch, replicas))
        return self.with_prepared(batch, jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), found))

    def _shared(self, replicas, trainable, non_trainable, micro_batches):
        """dict of task name to tensors [micro-batches, samples of all replicas, ...]; empty on one replica.

        The key encoder does not change within an update, so the keys of all micro-batches can be computed first.
        """
        if replicas.count == 1 or self.gathers:
            return {}

        def of_one(nothing, micro_batch):
            with self._scope(trainable, non_trainable):
                return nothing, self.shared(micro_batch)

        _, shared = _for_each(of_one, None, micro_batches)
        return replicas.join(shared, axis=1)

    def _gathered(self, replicas, trainable, non_trainable, micro_batches):
        """As `_shared`, of what the update needs as a whole; None if one replica has it in one micro-batch.

        The states of dropout's seeds, which change on the way, are left behind.
        """
        if not self.gathers or replicas.count * self.accumulation_steps == 1:
            return None

        def of_one(non_trainable, micro_batch):
            with self._scope(trainable, non_trainable) as scope:
                found = self.gathered(micro_batch, training=True)
            return _values(scope, self.non_trainable_variables), found

        _, found = _for_each(of_one, non_trainable, micro_batches)
        return replicas.join(found, axis=1)

    def test_step(self, state: tuple[Any, ...], data: Any) -> tuple[Tensors, tuple[Any, ...]]:
        trainable, non_trainable, metrics = state
        batch = unpack_batch(data)
        with self._scope(trainable, non_trainable, None, metrics) as scope:
            batch = self.with_prepared(batch, self.prepared(batch)) if self.prepares else batch
            scales = self.scales(self.prediction_counts(batch), self.training_updates)
            loss, results = self.forward(batch, scales, training=False)
            self.update_task_metrics(results, training=False)
            self.total_loss_metric.update_state(loss)
            logs = self.metric_results()
        return logs, (trainable, non_trainable, _values(scope, self.metrics_variables))

    def shared_by_all(self, batch: Batch) -> dict[str, Tensors]:
        """`shared` of a whole batch, computed a micro-batch at a time."""
        if self.is_whole(batch):
            return self.shared(batch)
        parts = jax.tree.map(lambda array: array.reshape(self.accumulation_steps, -1, *array.shape[1:]), batch)
        return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), jax.lax.map(self.shared, parts))

    def _micro_batches(self, batch, replicas):
        """`batch` with a new first dimension, the micro-batches."""

        def parts(tensor):
            tensor = tensor.reshape(self.accumulation_steps, -1, *tensor.shape[1:])
            # Without a new layout, the first devices of `ModelParallel` would hold all of the first micro-batches.
            return replicas.cut_along(tensor, 1)

        return jax.tree.map(parts, batch)

    def _seed_indices(self):
        """Places of the seed generators' states among the non-trainable variables."""
        states = {id(state) for state in seed_states(self)}
        return [index for index, variable in enumerate(self.non_trainable_variables) if id(variable) in states]

    def _groups(self, places):
        """The tasks whose losses are differentiated together, a list of lists.

        One by one, each with those that share its forward pass: the activations and table-sized gradients of a task
        are gone before those of the next one come. Where weights are cut, together: they are joined once for all.
        """
        if any(cut_dimension(place) is not None for place in places.trainable):
            return [self.tasks]
        return self.task_groups

    def _loss(self, tasks, trainable, non_trainable, batch, scales, loss_scale, shared):
        """(loss * loss_scale, (loss, results, non-trainable values)) of `tasks` on a micro-batch, for `jax.grad`."""
        with self._scope(trainable, non_trainable) as scope:
            loss, results = self.group_loss(tasks, batch, scales, training=True, shared=shared)
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

    def test_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.test_on_batch`, on a global batch."""
        if current_distribution().num_workers > 1:
            x = parts_of_process(x)
        return super().test_on_batch(x, *arguments, **keywords)

    def evaluate(self, x: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.evaluate`; a data set is one of global batches, of which each process gets its part."""
        # The compiled program does not see the optimizer, and holds the weights of its update as numbers.
        weights = tuple(float(weight) for weight in self.task_weights(self.training_updates).values())
        if weights != self._weights_of_test:
            self._weights_of_test, self.test_function = weights, None
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


@dataclasses.dataclass(frozen=True)
class Places:
    """`PartitionSpec`s of a pretrainer's variables."""

    trainable: list[PartitionSpec]
    non_trainable: list[PartitionSpec]

    @classmethod
    def of(cls, model: keras.Model, replicas: JaxReplicas) -> "Places":
        return cls(replicas.places(model.trainable_variables), replicas.places(model.non_trainable_variables))


def _values(scope, variables):
    return [scope.get_current_value(variable) for variable in variables]


def _cond(condition, if_true, if_false, *operands):
    """`jax.lax.cond`; a plain choice where nothing is compiled, since `cond` would compile both branches each time."""
    if isinstance(condition, jax.core.Tracer):
        return jax.lax.cond(condition, if_true, if_false, *operands)
    return (if_true if condition else if_false)(*operands)


def _in_one_piece(function, carry, step):
    """`function(carry)`, which the compiler cannot mix with what comes before and after it.

    `carry` is (loss, gradients or None, non-trainable values). It is the branch of a condition that always holds:
    `step` counts from 1. `jax.lax.optimization_barrier` does not serve: on CPUs the compiler removes it before it
    chooses the order.
    """
    if not isinstance(step, jax.core.Tracer):
        # Operation by operation there is nothing to mix.
        return function(carry)
    (_, gradients, _), outputs = jax.eval_shape(function, carry)

    def zeros(arrays):
        return jax.tree.map(lambda array: jax.numpy.zeros(array.shape, array.dtype), arrays)

    def never(carry):
        loss, before, non_trainable = carry
        return (loss, zeros(gradients) if before is None else before, non_trainable), zeros(outputs)

    return jax.lax.cond(step > 0, function, never, carry)


def _changed(values, indices, function):
    """`values` with those at `indices` replaced by `function` of them."""
    return replaced(values, indices, function([values[index] for index in indices]))


def _for_each(function, carry, inputs):
    """`jax.lax.scan`; without a loop if there is one micro-batch."""
    if jax.tree.leaves(inputs)[0].shape[0] > 1:
        return jax.lax.scan(function, carry, inputs)
    carry, outputs = function(carry, jax.tree.map(lambda array: array[0], inputs))
    return carry, jax.tree.map(lambda array: array[None], outputs)


def _seen_by(tensors_by_task, gathered, index, replicas):
    """dict of task name to the `SharedTensors` of micro-batch `index`; None if the micro-batch needs nothing else."""

    def first_row(rows):
        return replicas.index() * (rows // replicas.count)

    if gathered is not None:
        return {
            task: SharedTensors.of_update(tensors, index, first_row(next(iter(tensors.values())).shape[1]))
            for task, tensors in gathered.items()
        }
    if replicas.count == 1:
        return None

    return {
        task: SharedTensors(tensors, first_row(next(iter(tensors.values())).shape[0]))
        for task, tensors in tensors_by_task.items()
    }
