"""The training step on TensorFlow, on one replica or on those of a `tf.distribute.Strategy`.

Replicas communicate at three points of a step, outside of what XLA compiles for each of them: they join their counts
and keys before the forward pass, and sum their gradients and losses after it. Each replica computes the rest from
equal values, so queue, key encoder, weights and counters stay bit-identical.
"""

import functools
from collections.abc import Callable, Generator
from typing import Any

import keras
import tensorflow as tf

from infoxlm_keras.annotations import Batch, Tensor, Tensors
from infoxlm_keras.data.batches import unpack_batch
from infoxlm_keras.data.sharding import shard_batch
from infoxlm_keras.distribution.host_compiler import compiles_or_says_why
from infoxlm_keras.distribution.inputs import distribute_batches
from infoxlm_keras.distribution.replicas import Replicas
from infoxlm_keras.distribution.workarounds import (
    distributed_function,
    draw_differently_on_each_replica,
    read_metrics_of_one_replica,
    update_on_each_replica,
)
from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks.pretext_task import SharedTensors
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.dropout_seeds import seeds_restored
from infoxlm_keras.training.gradients import clip_by_norm, global_norm, unscaled
from infoxlm_keras.training.step.parts import StepParts


class TrainStep(StepParts):
    """Mixin of `InfoXLMPretrainer`: `train_step` and `test_step`, and their functions under a strategy."""

    def train_step(self, data: Any) -> Tensors:
        batch = self._prepared(unpack_batch(data))
        replicas = Replicas()
        step = self.training_updates
        counts, token_counts = replicas.sum((self.prediction_counts(batch), self.token_counts(batch, replicas.count)))
        scales = self.scales(counts, step)
        shared = self._gathered(batch, replicas) if self.gathers else self._shared(batch, replicas)

        loss, gradients, results = self._compiled(lambda: self._accumulated_gradients(batch, scales, shared))
        loss, gradients = replicas.sum((loss, gradients))
        self._update_task_metrics_by_micro_batch(_summed(results, replicas))

        def finish():
            unscaled_gradients = unscaled(gradients, self.loss_scale) if self.uses_loss_scale else gradients
            norm = global_norm(unscaled_gradients)
            finite = tf.math.is_finite(norm)

            def update():
                # Scaled in here, where XLA fuses it with the update.
                clipped = clip_by_norm(unscaled_gradients, norm, self.clip_norm)
                padding_row = self.padding_row()
                self.optimizer.apply(clipped, self.trainable_variables)
                self.restore_padding_row(padding_row)
                self.after_update(step)
                return tf.constant(True)

            tf.cond(finite, update, lambda: tf.constant(False))
            self.count_step(finite)
            return norm

        norm = self._compiled(finish)
        self.update_step_metrics(token_counts, loss, norm)
        return self.metric_results()

    def restore_padding_row(self, row: Tensor) -> None:
        """Restores the row of `<pad>`, which gradients of the tied output and weight decay must not change."""
        embeddings = self.backbone.token_embedding.embeddings.value
        # Not `ops.slice_update`: it is an operation of XLA, which TensorFlow's build for TPUs cannot run on the host.
        # Not a write to the variable in place: from then on TensorFlow copies the table at every read.
        embeddings.assign(tf.tensor_scatter_nd_update(embeddings, [[PAD_ID]], row))

    def test_step(self, data: Any) -> Tensors:
        """Losses and metrics of one batch without any update."""
        batch = unpack_batch(data)
        batch = self.with_prepared(batch, self.prepared(batch)) if self.prepares else batch
        replicas = Replicas()
        scales = self.scales(replicas.sum(self.prediction_counts(batch)), self.training_updates)
        # One batch, whatever the number of micro-batches in training.
        shared = None
        if replicas.count > 1:
            own = self.gathered(batch, training=False) if self.gathers else self.shared(batch)
            shared = _shared_tensors(own, 0, replicas)
        loss, results = self.forward(batch, scales, training=False, shared=shared)
        self.update_task_metrics(_summed(results, replicas), training=False)
        self.total_loss_metric.update_state(replicas.sum(loss))
        return self.metric_results()

    # === Micro-batches ===

    def _gradients(self, batch, scales, shared, loss, gradients):
        """(loss, gradients, results) of one micro-batch; its keys enter the queue.

        `loss` and the dense `gradients` of loss * loss_scale are sums over the micro-batches so far, or 0.0 and None.
        One task after another, each with those that share its forward pass: its activations and table-sized gradients
        are gone before the next one's come.
        """
        results = {}
        for tasks in self.task_groups:

            def add(tasks=tasks, loss=loss, gradients=gradients):
                return self._with_gradients_of(tasks, batch, scales, shared, loss, gradients)

            if self.jit_compile and not tf.executing_eagerly() and gradients is not None:
                # XLA keeps no order, but for what a condition holds; this one is always true.
                nothing = (loss, gradients, _no_results(tasks, ()))
                loss, gradients, more_results = tf.cond(
                    self.training_updates > 0, add, lambda nothing=nothing: nothing
                )
            else:
                with tf.control_dependencies(gradients or []):
                    loss, gradients, more_results = add()
            results.update(more_results)
        return loss, gradients, results

    def _with_gradients_of(self, tasks, batch, scales, shared, loss, gradients):
        """(loss, gradients, the tasks' results), of which the first two are the arguments plus the tasks' own."""
        with tf.GradientTape() as tape:
            own_loss, results = self.group_loss(tasks, batch, scales, training=True, shared=shared)
            scaled_loss = own_loss * tf.convert_to_tensor(self.loss_scale)
        own = tape.gradient(scaled_loss, [variable.value for variable in self.trainable_variables])
        for task in tasks:
            task.after_backward(results[task.task_name].pop("state"))
        if gradients is None:
            gradients = [
                tf.zeros(variable.shape, variable.dtype) if gradient is None else tf.convert_to_tensor(gradient)
                for variable, gradient in zip(self.trainable_variables, own, strict=True)
            ]
        else:
            gradients = [_sum_of(*pair) for pair in zip(gradients, own, strict=True)]
        return loss + own_loss, gradients, results

    def _accumulated_gradients(self, batch, scales, shared):
        """Sums of loss and gradients over the micro-batches, and their results as vectors, an entry a micro-batch.

        One after another, in a loop that XLA keeps rolled.
        """
        micro_batches = self.accumulation_steps
        if micro_batches == 1:
            return self._gradients(batch, scales, self._micro_shared(shared, 0), tf.constant(0.0), None)

        def body(index, loss, gradients, results):
            micro_batch = self.micro_batch(batch, index)
            tensors = self._micro_shared(shared, index)
            loss, gradients, more_results = self._gradients(micro_batch, scales, tensors, loss, gradients)
            here = tf.equal(tf.range(micro_batches), index)
            results = tf.nest.map_structure(lambda all, one: tf.where(here, one, all), results, more_results)
            return index + 1, loss, gradients, results

        zeros = [tf.zeros(variable.shape, variable.dtype) for variable in self.trainable_variables]
        no_results = _no_results(self.tasks, micro_batches)
        _, loss, gradients, results = tf.while_loop(
            lambda index, *_: index < micro_batches,
            body,
            (tf.constant(0), tf.constant(0.0), zeros, no_results),
            maximum_iterations=micro_batches,
        )
        return loss, gradients, results

    def _update_task_metrics_by_micro_batch(self, results):
        if self.accumulation_steps == 1:
            self.update_task_metrics(results)
            return

        def body(index):
            self.update_task_metrics(tf.nest.map_structure(lambda all: tf.gather(all, index), results))
            return [index + 1]

        tf.while_loop(
            lambda index: index < self.accumulation_steps,
            body,
            [tf.constant(0)],
            maximum_iterations=self.accumulation_steps,
        )

    # === Replicas ===

    def _shared(self, batch, replicas):
        """dict of task name to `SharedTensors` of tensors [micro-batches, samples of all replicas, ...]; None on one.

        The key encoder does not change within an update, so the keys of all micro-batches can be computed first.
        """
        if replicas.count == 1:
            return None

        return _shared_tensors(self._of_micro_batches(self.shared, batch), 1, replicas)

    def _gathered(self, batch, replicas):
        """As `_shared`, of what the update needs as a whole; None if one replica has it in one micro-batch."""
        if replicas.count * self.accumulation_steps == 1:
            return None
        with seeds_restored(self):
            found = self._of_micro_batches(functools.partial(self.gathered, training=True), batch)
        return _shared_tensors(found, 1, replicas)

    def _micro_shared(self, shared, index):
        """`shared` of micro-batch `index`."""
        if shared is None:
            return None
        if self.gathers:
            return {
                task: SharedTensors.of_update(part.tensors, index, part.first_row) for task, part in shared.items()
            }
        return {
            task: SharedTensors({name: tf.gather(t, index) for name, t in part.tensors.items()}, part.first_row)
            for task, part in shared.items()
        }

    def _of_micro_batches(self, function, batch):
        """`function` of each micro-batch of `batch`: its tensors with a new first dimension, the micro-batches."""

        def of_one(index):
            return function(self.micro_batch(batch, index))

        def all_micro_batches():
            # A loop, which is compiled once and holds the activations of one micro-batch at a time.
            traced = tf.function(of_one, autograph=False).get_concrete_function(tf.TensorSpec((), tf.int32))
            outputs = tf.nest.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), traced.structured_outputs)
            if not outputs:
                # No task has tensors that replicas exchange, and `map_fn` needs some.
                return {}
            indices = tf.range(self.accumulation_steps)
            return tf.map_fn(traced, indices, fn_output_signature=outputs, parallel_iterations=1)

        return self._compiled(all_micro_batches)

    def _prepared(self, batch):
        """`batch` with what the tasks prepare."""
        if not self.prepares:
            return batch
        if self.accumulation_steps == 1:
            return self.with_prepared(batch, self._compiled(lambda: self.prepared(batch)))

        found = self._of_micro_batches(self.prepared, batch)
        return self.with_prepared(batch, tf.nest.map_structure(_end_to_end, found))

    def _compiled(self, function):
        """`function()`; under a strategy with `jit_compile` compiled by XLA, since the step as a whole cannot be."""
        if self._is_distributed and self.jit_compile and not tf.executing_eagerly():
            return tf.function(function, jit_compile=True, autograph=False)()
        return function()

    def shared_by_all(self, batch: Batch) -> dict[str, Tensors]:
        """`shared` of a whole batch, in the order of the global batch, computed a micro-batch at a time."""
        replicas = Replicas()
        if replicas.count == 1 and self.is_whole(batch):
            return self.shared(batch)
        if replicas.count == 1:
            return tf.nest.map_structure(_end_to_end, self._of_micro_batches(self.shared, batch))
        shared = {task: part.tensors for task, part in self._shared(batch, replicas).items()}
        return tf.nest.map_structure(_end_to_end, shared)

    # === What `fit` and `evaluate` call ===

    def compile(self, optimizer: keras.optimizers.Optimizer, jit_compile: bool = False, **kwargs: Any) -> None:
        """As `keras.Model.compile`. See `compiles_or_says_why` for `jit_compile`."""
        jit_compile = jit_compile and compiles_or_says_why(self.backbone.dtype_policy.compute_dtype)
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        if self._is_distributed:
            update_on_each_replica(optimizer)
            read_metrics_of_one_replica(self)
            draw_differently_on_each_replica(self)

    def fit(self, x: Any = None, *arguments: Any, **keywords: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`; a data set is one of global batches, of which each replica gets its part."""
        if self._is_distributed and isinstance(x, Generator):
            raise InputError("fit: under a tf.distribute strategy give a tf.data.Dataset of global batches")
        if self._is_distributed and isinstance(x, tf.data.Dataset):
            if not arguments:
                given = keywords.get("steps_per_epoch")
                keywords["steps_per_epoch"] = _number_of_steps(x, given, "fit: give steps_per_epoch")
            x = distribute_batches(x, self.accumulation_steps, self.steps_per_execution)
        return super().fit(x, *arguments, **keywords)

    def train_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.train_on_batch`, on a global batch."""
        return super().train_on_batch(self._parts(x, self.accumulation_steps), *arguments, **keywords)

    def test_on_batch(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.test_on_batch`, on a global batch."""
        return super().test_on_batch(self._parts(x), *arguments, **keywords)

    def _parts(self, batch, accumulation_steps=1):
        """`batch` with each replica's part, where there are several."""
        if not self._is_distributed:
            return batch

        def part(context):
            number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
            return shard_batch(batch, number, count, accumulation_steps)

        return self.distribute_strategy.experimental_distribute_values_from_function(part)

    def evaluate(self, x: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As `keras.Model.evaluate`, on a data set of global batches."""
        if self._is_distributed and isinstance(x, tf.data.Dataset):
            if not arguments:
                keywords["steps"] = _number_of_steps(x, keywords.get("steps"), "evaluate: give steps")
            x = distribute_batches(x, steps_per_execution=self.steps_per_execution)
        return super().evaluate(x, *arguments, **keywords)

    def make_train_function(self, force: bool = False) -> Callable[[Any], Tensors]:
        if not self._is_distributed:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = distributed_function(self, self.train_step, self._needs_static_shapes)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Callable[[Any], Tensors]:
        if not self._is_distributed:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = distributed_function(self, self.test_step, self._needs_static_shapes)
        return self.test_function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: `__init__` made every variable. Keras would draw a batch, and fails on several workers."""

    @property
    def _is_distributed(self):
        return self._distribute_strategy is not None

    @property
    def _needs_static_shapes(self):
        return isinstance(self.distribute_strategy, tf.distribute.TPUStrategy)


def _number_of_steps(dataset, given, request):
    """`given`, or the batches in `dataset`: what replicas read of it has no end."""
    count = int(dataset.cardinality()) if given is None else given
    if count < 0:
        raise InputError(f"{request}; the data set has no end that is known")
    return count


def _sum_of(sums, gradient):
    """`sums` plus a gradient: None, a tensor, or slices of it."""
    if gradient is None:
        return sums
    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(sums, gradient.indices[:, None], gradient.values)
    return sums + gradient


def _no_results(tasks, shape):
    zeros = tf.zeros(shape)
    sums = dict.fromkeys(("loss_sum", "count", "correct_sum"), zeros)
    return {
        task.task_name: {
            **sums,
            "num_candidates": zeros,
            "averages": dict.fromkeys(task.average_names, zeros),
            "further": {name: dict(sums) for name in task.further_names},
        }
        for task in tasks
    }


def _summed(results, replicas):
    """`results` over all replicas: sums, but for the number of candidates, which is the same on each."""
    candidates = {task: result["num_candidates"] for task, result in results.items()}
    results = replicas.sum(results)
    return {task: {**result, "num_candidates": candidates[task]} for task, result in results.items()}


def _end_to_end(tensor):
    """`tensor` [micro-batches, samples, ...] as [all samples, ...], a static number if both are."""
    parts, samples = tensor.shape[:2]
    together = -1 if samples is None else parts * samples
    return tf.reshape(tensor, [together, *keras.ops.shape(tensor)[2:]])


def _shared_tensors(tensors_by_task, axis, replicas):
    """dict of task name to `SharedTensors`, joined over the replicas along the samples' `axis`."""

    def shared(tensors):
        samples = keras.ops.shape(next(iter(tensors.values())))[axis]
        joined = {name: replicas.join(tensor, axis) for name, tensor in tensors.items()}
        return SharedTensors(joined, replicas.index * samples)

    return {task: shared(tensors) for task, tensors in tensors_by_task.items()}
