"""What Keras alone does on two replicas, and what our replica step is made of: `python strategy_worker.py FILE`.

Needs a process of its own, with two CPU devices. Writes its findings as JSON to FILE.
"""

import json
import os
import pathlib
import sys
import types

if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from infoxlm_keras import MMLM, TLM, XLCO
from infoxlm_keras.distribution.inputs import distribute_batches
from infoxlm_keras.distribution.strategies import choose_distribution
from infoxlm_keras.distribution.workarounds import (
    batch_function,
    distributed_function,
    draw_differently_on_each_replica,
    read_metrics_of_one_replica,
    update_on_each_replica,
)
from tiny_pretraining import TWO_LAYERS, joint_batch, tiny_pretrainer

INPUTS = np.array([[1.0], [2.0], [3.0], [40.0]], "float32")
TARGETS = np.array([[0.0], [1.0], [0.0], [1.0]], "float32")


def model(optimizer, **options):
    """One weight of value 1, and no loss of its own devising."""
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    made.compile(optimizer=optimizer, loss="mse", **options)
    return made


def dataset():
    return tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(4, drop_remainder=True).repeat()


def error_of(function):
    """The text of what `function` raises, or "" if all goes well."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def stock_clipping():
    """The weight after one step with clipping by the global norm, by Keras."""
    made = model(keras.optimizers.SGD(1.0, global_clipnorm=0.5))
    made.fit(dataset(), steps_per_epoch=1, verbose=0)
    return float(made.layers[0].kernel.value.values[0].numpy()[0, 0])


def update_in_condition(strategy, corrected):
    """The error of an update inside a condition, with and without our change of the optimizer."""
    with strategy.scope():
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = keras.optimizers.AdamW(0.1)
        optimizer.build([variable])
        if corrected:
            update_on_each_replica(optimizer)

    def step():
        def update():
            optimizer.apply([tf.ones(3)], [variable])
            return tf.constant(True)

        return tf.cond(tf.constant(True), update, lambda: tf.constant(False))

    error = error_of(lambda: tf.function(lambda: strategy.run(step), autograph=False)())
    return error, [copy.numpy().tolist() for copy in variable.value.values], int(optimizer.iterations.numpy())


def sum_in_compiled(strategy):
    """The error of a sum over replicas inside of what XLA compiles."""

    @tf.function(jit_compile=True, autograph=False)
    def compiled():
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(3))

    return error_of(lambda: tf.function(lambda: strategy.run(compiled), autograph=False)())


def dropped(strategy, corrected):
    """Whether two replicas drop the same places."""
    with strategy.scope():
        made = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(0.5, seed=3)])
        if corrected:
            draw_differently_on_each_replica(made)
    run = tf.function(lambda: strategy.run(lambda: made(tf.ones((1, 64)), training=True)), autograph=False)
    first, second = (value.numpy() for value in strategy.experimental_local_results(run()))
    states = [copy.numpy().tolist() for copy in made.layers[0].seed_generator.state.value.values]
    return bool((first == second).all()), states


def metric_read(strategy, corrected):
    """What a metric reads that every replica gave one observation."""
    with strategy.scope():
        metric = keras.metrics.Sum()
        if corrected:
            read_metrics_of_one_replica(types.SimpleNamespace(metrics_variables=metric.variables))
    tf.function(lambda: strategy.run(lambda: metric.update_state(1.0) and None), autograph=False)()
    return float(metric.result())


def shapes_seen(strategy):
    """The shapes that a step is traced for, replica by replica, if it is fed batches of two lengths as a TPU is."""
    seen = []
    fed = types.SimpleNamespace(
        distribute_strategy=strategy, steps_per_execution=1, metric_results=lambda: {"loss": tf.constant(1.0)}
    )
    lengths = tf.data.Dataset.from_tensor_slices([3, 5, 3, 5])
    batches = lengths.map(lambda length: {"task": {"ids": tf.ones((4, length), tf.int32)}})

    def step(batch):
        seen.append(batch["task"]["ids"].shape.as_list())

    run = distributed_function(fed, step, static_shapes=True)
    iterator = iter(distribute_batches(batches))
    for _ in range(4):
        run(iterator)
    return seen


BATCH = joint_batch(np.random.default_rng(0), 4, 4, 4)


def step_pretrainer():
    return tiny_pretrainer(
        # The vocabulary of 50 in chunks.
        [MMLM(max_logits=150), TLM(), XLCO(queue_length=13, in_batch_negatives=True)],
        size=TWO_LAYERS,
        dropout=0.1,
        dtype="mixed_bfloat16",
        accumulation_steps=2,
    )


def evaluation(pretrainer):
    """What `evaluate` says of one batch."""
    dataset = tf.data.Dataset.from_tensors(BATCH).repeat()
    return pretrainer.evaluate(dataset, steps=1, verbose=0, return_dict=True)


def replica_step(strategy):
    """(operations, tensors of unknown shape) of our step as one replica runs it, and of all functions in it."""
    pretrainer = step_pretrainer()
    evaluated = evaluation(pretrainer)
    per_replica = strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(tf.constant, BATCH)
    )
    run = batch_function(pretrainer, pretrainer.train_step)
    graph = run.get_concrete_function(per_replica).graph
    library = graph.as_graph_def().library.function
    inner = [graph._get_function(function.signature.name) for function in library]
    graphs = [graph, *(function.graph for function in inner if function is not None)]
    operations = [operation for one in graphs for operation in one.get_operations()]
    unknown = [
        tensor.name
        for operation in operations
        for tensor in operation.outputs
        if not tensor.shape.is_fully_defined()
        # Lists of axes for a gradient's sum, and names that stand for nothing: the compiler computes with neither.
        and operation.type != "BroadcastGradientArgs"
        and "redundant_placeholder" not in operation.name
    ]
    logs = run(per_replica)
    return {
        "operations": sorted({operation.type for operation in operations}),
        "unknown_shapes": unknown,
        "graphs": len(graphs),
        "loss": float(logs["loss"]),
        "evaluation": evaluated,
    }


def main(path):
    distribution = choose_distribution("mirrored", replicas=2)
    strategy = distribution.strategy
    findings = {"devices": distribution.devices, "evaluation_on_one": evaluation(step_pretrainer())}
    with distribution.scope(), distribution.variables():
        findings["stock_clipping"] = stock_clipping()
        findings["stock_steps_per_execution"] = error_of(
            lambda: model("sgd", steps_per_execution=2).fit(dataset(), steps_per_epoch=2, verbose=0)
        )
        findings["stock_jit_compile"] = error_of(
            lambda: model("sgd", jit_compile=True).fit(dataset(), steps_per_epoch=1, verbose=0)
        )
        findings["stock_accumulation"] = error_of(
            lambda: model(keras.optimizers.SGD(gradient_accumulation_steps=2)).fit(
                dataset(), steps_per_epoch=2, verbose=0
            )
        )
        for name, corrected in (("stock", False), ("ours", True)):
            findings[f"{name}_update_in_condition"] = update_in_condition(strategy, corrected)
            findings[f"{name}_dropped"] = dropped(strategy, corrected)
            findings[f"{name}_metric_read"] = metric_read(strategy, corrected)
        findings["stock_sum_in_compiled"] = sum_in_compiled(strategy)
        findings["shapes_seen"] = shapes_seen(strategy)
        findings["replica_step"] = replica_step(strategy)
    pathlib.Path(path).write_text(json.dumps(findings))


if __name__ == "__main__":
    main(sys.argv[1])
