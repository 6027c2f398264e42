"""The part of a global batch that one of several workers trains on.

Batches are made for the whole run and cut afterwards, so the batch of step s does not depend on the number of workers.
"""

from typing import Any

import numpy as np

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError


def shard_batch(batch: Any, index: int | Tensor, count: int, accumulation_steps: int = 1) -> Any:
    """Worker `index`'s share of a global batch.

    With `accumulation_steps` = A, a global batch is A micro-batches laid end to end. A worker gets its contiguous
    slice of each of them, laid end to end again: micro-batch a of all workers, in their order, is the global one.

    Args:
        batch: nested dict of arrays or TensorFlow tensors [samples, ...] (`{task: {name: values}}`).
        index: int in 0..count - 1, or an integer scalar tensor (the replica's number in a `tf.function`).
        count: int > 0, workers.
        accumulation_steps: int > 0, micro-batches in `batch`.

    Returns:
        The same structure, arrays or tensors [samples / count, ...].

    Raises:
        InputError: if a batch cannot be divided into equal shares, or `index` is not one of `count` workers.
    """
    if count < 1 or accumulation_steps < 1:
        raise InputError(f"{count} workers and {accumulation_steps} micro-batches: give at least 1 of each")
    if isinstance(index, int) and not 0 <= index < count:
        raise InputError(f"worker {index}: with {count} workers they are numbered 0..{count - 1}")
    return _shard(batch, index, count, accumulation_steps, name="the batch")


def parts_end_to_end(batch: Any, count: int, accumulation_steps: int = 1) -> Any:
    """`batch` with its samples reordered, so that the i-th of `count` contiguous parts is `shard_batch` number i.

    Arguments and errors as for `shard_batch`. Where there is one micro-batch or one part, the order stays.

    Example:
    ```python
    parts_end_to_end({"mmlm": np.arange(8)}, count=2, accumulation_steps=2)  # {"mmlm": [0, 1, 4, 5, 2, 3, 6, 7]}
    ```
    """
    shard_batch(batch, 0, count, accumulation_steps)  # checks the sizes
    if count == 1 or accumulation_steps == 1:
        return batch
    return _reordered(batch, count, accumulation_steps)


def _reordered(values, count, accumulation_steps):
    if isinstance(values, dict):
        return {key: _reordered(inner, count, accumulation_steps) for key, inner in values.items()}
    samples, rest = values.shape[0], _rest_of(values)
    share = -1 if samples is None else samples // (accumulation_steps * count)
    reshape, transpose = _reshape_of(values), _transpose_of(values)
    parts = reshape(values, (accumulation_steps, count, share, *rest))
    parts = transpose(parts, (1, 0, *range(2, len(parts.shape))))
    return reshape(parts, (-1 if samples is None else samples, *rest))


def _shard(values, index, count, accumulation_steps, name):
    if isinstance(values, dict):
        # The error names the task, because its batch size is a setting.
        return {
            key: _shard(inner, index, count, accumulation_steps, key if isinstance(inner, dict) else name)
            for key, inner in values.items()
        }
    samples = values.shape[0]
    if samples is not None and samples % (accumulation_steps * count):
        raise InputError(
            f"{name}: {samples} samples a step (batch_size times accumulation_steps = {accumulation_steps}) cannot be "
            f"divided among {count} workers; make batch_size a multiple of {count}"
        )
    # An unknown number of samples is checked by the reshape itself, when it runs.
    share = -1 if samples is None else samples // (accumulation_steps * count)
    rest = _rest_of(values)
    reshape = _reshape_of(values)
    workers_axis = reshape(values, (accumulation_steps, count, share, *rest))
    taken = workers_axis[:, index]  # [accumulation_steps, share, ...]
    return reshape(taken, (-1 if samples is None else samples // count, *rest))


def _rest_of(values):
    """Sizes of all dimensions but the first; scalars of TensorFlow where they are not static (a bucket's length)."""
    static = tuple(values.shape[1:])
    if None not in static:
        return static
    import tensorflow as tf

    dynamic = tf.shape(values)
    return tuple(dynamic[axis] if size is None else size for axis, size in enumerate(static, start=1))


def _reshape_of(values):
    if isinstance(values, np.ndarray):
        return np.reshape
    import tensorflow as tf

    return tf.reshape


def _transpose_of(values):
    if isinstance(values, np.ndarray):
        return np.transpose
    import tensorflow as tf

    return tf.transpose
