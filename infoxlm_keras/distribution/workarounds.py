"""Workarounds for what Keras 3.15 lacks under a `tf.distribute.Strategy` (TensorFlow).

Each function names what fails without it. `test_keras_workarounds.py` asserts that it still fails. When one of those
tests breaks, Keras has the feature, and the function can be removed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from infoxlm_keras.annotations import Batch


def update_on_each_replica(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes `optimizer.apply` run on each replica without communication; the gradients must be equal on all of them.

    Keras' `apply` sums the gradients over the replicas after it clipped them, so clipping by the global norm gives a
    wrong result and no error. It also uses `merge_call` for decay, update and count, which fails inside a condition or
    a loop. Our step sums and clips first, and all replicas compute the same update.
    """

    def apply_weight_decay(self, variables):
        for variable in variables:
            if self.weight_decay is not None and self._use_weight_decay(variable):
                decay = tf.cast(self.learning_rate, variable.dtype) * self.weight_decay
                variable.assign_sub(variable * decay)

    def backend_update_step(self, gradients, variables, learning_rate):
        for gradient, variable in zip(gradients, variables, strict=True):
            self.update_step(gradient, variable, learning_rate)

    # Some have a decay of their own, as Muon.
    if type(optimizer)._apply_weight_decay is keras.optimizers.Optimizer._apply_weight_decay:
        optimizer._apply_weight_decay = functools.partial(apply_weight_decay, optimizer)
    optimizer._backend_update_step = functools.partial(backend_update_step, optimizer)
    # Made for "only_first_replica", whose assignment is a merge_call.
    _set_aggregation(optimizer._iterations, tf.VariableAggregation.NONE)


def read_metrics_of_one_replica(model: keras.Model) -> None:
    """Makes the metrics of `model` readable by one worker alone; their updates must be the same on all replicas.

    Keras sums its own over the replicas at every read, which blocks until all workers read.
    """
    for variable in model.metrics_variables:
        _set_aggregation(variable, tf.VariableAggregation.ONLY_FIRST_REPLICA)


def _set_aggregation(variable, aggregation):
    distributed = variable.value
    distributed._aggregation = aggregation
    # A TPU's variables keep it in a second place.
    policy = getattr(distributed, "_policy", None)
    if policy is not None:
        policy._aggregation = aggregation


def draw_differently_on_each_replica(model: keras.Model) -> None:
    """Adds the replica's number to the seeds of dropout; without it all replicas drop the same places.

    The saved state stays the same on all of them: only the drawn seed differs.
    """

    def next_seed(draw, ordered=True):
        return replica_seed(draw(ordered=ordered), tf.distribute.get_replica_context().replica_id_in_sync_group)

    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", ()):
            generator.next = functools.partial(next_seed, generator.next)


def replica_seed(seed: tf.Tensor, index: int | tf.Tensor) -> tf.Tensor:
    """The seed that replica `index` (int or int32 scalar) draws with when all replicas hold `seed`, int64 [2]."""
    index = tf.cast(index, seed.dtype)
    # Neighbouring layers may have neighbouring seeds: a large odd step keeps all of them apart.
    return seed + tf.stack([index * tf.constant(0x9E3779B1, seed.dtype), tf.zeros_like(index)])


def distributed_function(
    model: keras.Model, step: Callable[[Batch], Any], static_shapes: bool = False
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """The function that `fit` calls with an iterator: `steps_per_execution` times `step` on every replica.

    Keras' own takes the mean of the replicas' logs and fails with "You must feed a value for placeholder tensor" if
    `steps_per_execution` is more than 1, with "tfvariable_on_a_different_device" if `jit_compile` is set, and under
    MultiWorkerMirroredStrategy always (it reduces scalars along axis 0). Ours reads the metrics, which are the same on
    all replicas, once the steps are done.

    Args:
        model: `InfoXLMPretrainer`, compiled.
        step: function of a batch, run on each replica.
        static_shapes: bool. Batches are fetched one by one outside the compiled function, which is then traced for
            each shape: a TPU compiles no unknown shape.
    """
    steps = model.steps_per_execution
    run_on_batch = batch_function(model, step)

    @tf.function(autograph=False, reduce_retracing=True)
    def run_on_iterator(iterator):
        def body(index):
            model.distribute_strategy.run(step, args=(iterator.get_next(),))
            return [index + 1]

        if steps == 1:
            body(0)
        else:
            tf.while_loop(lambda index: index < steps, body, [tf.constant(0)], maximum_iterations=steps)
        return _logs(model)

    def run(iterator):
        # `train_on_batch` and `test_on_batch` hand in a generator.
        if isinstance(iterator, tf.distribute.DistributedIterator) and (steps > 1 or not static_shapes):
            return run_on_iterator(iterator)
        return run_on_batch(next(iterator))

    return run


def batch_function(model: keras.Model, step: Callable[[Batch], Any]) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """The `tf.function` of a batch (each replica's own) that runs `step` on every replica and returns the logs."""

    @tf.function(autograph=False)
    def run_on_batch(batch):
        model.distribute_strategy.run(step, args=(batch,))
        return _logs(model)

    return run_on_batch


def _logs(model):
    strategy = model.distribute_strategy
    results = strategy.run(model.metric_results)
    return tf.nest.map_structure(lambda value: strategy.experimental_local_results(value)[0], results)
