"""Fills XLCO's queue of past keys (and whatever another task needs) from extra batches before the first step."""

from collections.abc import Iterable

import keras
import numpy as np

from infoxlm_keras.annotations import Batch
from infoxlm_keras.distribution.inputs import distribute_batches
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


def fill_queue(pretrainer: InfoXLMPretrainer, task: PretextTask, batches: Iterable[Batch]) -> None:
    """Fills what `task` needs before the first step; no weight changes.

    Args:
        pretrainer: `InfoXLMPretrainer` with `task`.
        task: `PretextTask` with `entries_to_fill` above 0.
        batches: iterable of batches `{task name: ...}`, enough for all entries; under a `tf.distribute.Strategy` a
            data set.
    """
    fill = _compiled_fill(pretrainer)
    if keras.backend.backend() == "tensorflow":
        batches = distribute_batches(batches, pretrainer.accumulation_steps)
    # On JAX every process computes the keys of whole batches, in the order of one device.
    iterator = iter(batches)
    with progress_bar(f"filling the queue of {task.label}", total=task.entries_to_fill, unit="keys") as advance:
        filled = 0
        while filled < task.entries_to_fill:
            added = int(fill(next(iterator)))
            filled += added
            advance(added, units=added)


def _compiled_fill(pretrainer):
    # The stream's tensors are TensorFlow's, which other backends take by way of NumPy.
    if keras.backend.backend() == "jax":
        fill_by_one_program = _fill_on_jax(pretrainer)
        return lambda batch: fill_by_one_program(keras.tree.map_structure(np.asarray, batch))
    if keras.backend.backend() != "tensorflow":
        return lambda batch: pretrainer.fill_tasks(keras.tree.map_structure(np.asarray, batch))
    import tensorflow as tf

    strategy = pretrainer.distribute_strategy

    @tf.function(reduce_retracing=True, autograph=False)
    def fill(batch):
        return strategy.experimental_local_results(strategy.run(pretrainer.fill_tasks, (batch,)))[0]

    return fill


def _fill_on_jax(pretrainer):
    """`fill_tasks` as one program.

    Operation by operation, devices that hold parts of the weights would exchange messages for each operation, and
    those of a CPU then wait for each other until XLA ends the process.
    """
    import jax

    variables = [*pretrainer.trainable_variables, *pretrainer.non_trainable_variables]
    written: list[int] = []

    @jax.jit
    def run(values, batch):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))) as scope:
            before = [scope.get_current_value(variable) for variable in variables]
            added = pretrainer.fill_tasks(batch)
            after = [scope.get_current_value(variable) for variable in variables]
        written[:] = [number for number, value in enumerate(after) if value is not before[number]]
        return added, [after[number] for number in written]

    def fill(batch):
        added, values = run([variable.value for variable in variables], batch)
        for number, value in zip(written, values, strict=True):
            variables[number].assign(value)
        return int(added)

    return fill
