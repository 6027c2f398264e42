"""From a data set of global batches to each replica's part of them."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

import keras

from infoxlm_keras.annotations import Batch
from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


def distribute_batches(
    dataset: tf.data.Dataset, accumulation_steps: int = 1, steps_per_execution: int = 1
) -> tf.data.Dataset | tf.distribute.DistributedDataset:
    """`dataset` for the current distribution.

    Every worker reads all global batches and keeps its part, so the samples of a step do not depend on the number of
    workers. Reading is some hundred times faster than training.

    Args:
        dataset: tf.data.Dataset of global batches, `{task: {name: tensor [samples, ...]}}` or a tuple that holds that;
            micro-batches end to end.
        accumulation_steps: int, micro-batches in each.
        steps_per_execution: int, of the model that will train.

    Returns:
        On one device, the data set itself. On JAX and PyTorch, a data set of this process's rows of each batch; the
        parts for its devices lie end to end. Under a `tf.distribute.Strategy`, a `tf.distribute.DistributedDataset`
        whose elements are each replica's slice of every micro-batch. It is endless: give `fit` its `steps_per_epoch`.
    """
    distribution = current_distribution()
    if distribution.strategy is None and distribution.num_workers == 1:
        return dataset
    if keras.backend.backend() != "tensorflow":
        return _with_parts_end_to_end(dataset, distribution, accumulation_steps)
    import tensorflow as tf

    strategy = distribution.strategy
    shapes = [spec.shape for spec in tf.nest.flatten(dataset.element_spec)]
    if isinstance(strategy, tf.distribute.TPUStrategy) and steps_per_execution > 1:
        if not all(shape.is_fully_defined() for shape in shapes):
            raise InputError(
                f"steps_per_execution = {steps_per_execution}: a TPU needs batches of one shape for it; leave it at "
                "1, or choose a data.longest_pair that leaves one length"
            )

    dataset = _with_known_batch_sizes(dataset)

    def local_parts(context):
        count = strategy.num_replicas_in_sync
        local = count // context.num_input_pipelines
        first = context.input_pipeline_id * local
        parts = dataset.map(
            lambda batch: _stacked_parts(batch, range(first, first + local), count, accumulation_steps),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # Endless: for a data set that ends, TensorFlow drops static shapes and sends a message between workers at
        # every step, in case some replicas lack the last batch.
        return parts.unbatch().repeat().prefetch(local)

    return strategy.distribute_datasets_from_function(local_parts)


def _with_parts_end_to_end(dataset, distribution, accumulation_steps):
    """`dataset` of this process's rows; JAX cuts them into contiguous parts, one a device."""
    if distribution.name == "model_parallel":
        return dataset
    if accumulation_steps == 1 and distribution.num_workers == 1:
        return dataset
    from infoxlm_keras.data.batches import unpack_batch

    def reordered(batch):
        return (parts_of_process(unpack_batch(batch), accumulation_steps),)

    if hasattr(dataset, "map"):
        return dataset.map(lambda *batch: reordered(batch))
    if isinstance(dataset, Generator):
        # Keras knows generators, and no other iterators.
        return (reordered(batch) for batch in dataset)
    raise InputError(
        f"fit: on several devices with accumulation_steps = {accumulation_steps} give a tf.data.Dataset or a "
        f"generator of batches, not {type(dataset).__name__}"
    )


def parts_of_process(batch: Batch, accumulation_steps: int = 1) -> Batch:
    """The rows of a global batch for the devices of this process, those of each device next to each other.

    Arguments and errors as for `infoxlm_keras.data.sharding.shard_batch`.
    """
    from infoxlm_keras.data.sharding import parts_end_to_end, shard_batch

    distribution = current_distribution()
    workers = distribution.num_workers
    if workers > 1:
        batch = shard_batch(batch, distribution.worker, workers, accumulation_steps)
    return parts_end_to_end(batch, distribution.num_replicas // workers, accumulation_steps)


def _with_known_batch_sizes(dataset):
    """`dataset` of batches without tuples, whose number of samples is part of their type; it is that of the first."""
    import tensorflow as tf

    from infoxlm_keras.data.batches import unpack_batch

    dataset = dataset.map(lambda *batch: unpack_batch(batch))
    if all(spec.shape[0] is not None for spec in tf.nest.flatten(dataset.element_spec)):
        return dataset
    sizes = tf.nest.map_structure(lambda tensor: tensor.shape[0], next(iter(dataset.take(1))))
    return dataset.map(
        lambda batch: tf.nest.map_structure(
            lambda tensor, size: tf.ensure_shape(tensor, [size, *tensor.shape[1:]]), batch, sizes
        )
    )


def _stacked_parts(batch, indices, count, accumulation_steps):
    """`batch` with a new first dimension: the parts `indices` of `count`."""
    import tensorflow as tf

    from infoxlm_keras.data.sharding import shard_batch

    def stacked(task):
        def take(tensor):
            rows = {"rows": tf.range(tensor.shape[0])}
            parts = [shard_batch({task: rows}, index, count, accumulation_steps)[task]["rows"] for index in indices]
            return tf.gather(tensor, tf.stack(parts))  # [len(indices), samples / count, ...]

        return take

    return {task: tf.nest.map_structure(stacked(task), tensors) for task, tensors in batch.items()}
