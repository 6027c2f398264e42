"""Trains tiny pretrainers on the Keras backend named by KERAS_BACKEND: `python backend_worker.py DIRECTORY`.

Reads `inputs.npz` (weights, batches) and `scenarios.json` from the directory; writes `<backend>.npz` and
`<backend>.json`, what was trained and what the traced steps are made of.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys

if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        # Not needed there, and slow to import.
        sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import ops  # noqa: E402

from infoxlm_keras import DWA, MMLM, MRTD, TLM, TRTD, XLCO, Distillation, MomentumSchedule  # noqa: E402
from infoxlm_keras.finetuning.embedding_task import EmbeddingTask, UpdateLoss  # noqa: E402
from infoxlm_keras.runs.queue_filling import fill_queue  # noqa: E402
from infoxlm_keras.training.optimizer import rate_of_last_update  # noqa: E402
from tiny_pretraining import TINY_SIZE, tiny_masked_lm, tiny_pretrainer  # noqa: E402

SIZES = {number: dataclasses.replace(TINY_SIZE, num_layers=number) for number in (1, 2)}


def vectors(**loss):
    """The task of sentence vectors, which trains alone."""
    return EmbeddingTask(UpdateLoss(**loss), layer=1)


def distillation(width, **options):
    """The task with a random teacher of 3 layers, as wide as the student (8) or not."""
    size = dataclasses.replace(TINY_SIZE, hidden_dim=width)
    return Distillation(tiny_masked_lm(size, seed=9), **options)


TASKS = {
    "mmlm": MMLM,
    "tlm": TLM,
    "xlco": XLCO,
    "dwa": DWA,
    "mrtd": MRTD,
    "trtd": TRTD,
    "distillation": distillation,
    "training": vectors,
}


def build(scenario, jit_compile, weights=None):
    """The pretrainer of a scenario; `weights` maps `<number> <path>` to a value for every variable."""
    options = dict(scenario)
    if "xlco" in options:
        options["xlco"] = {**options["xlco"], "momentum": MomentumSchedule(**options["xlco"]["momentum"])}
    tasks = [TASKS[name](**options.get(name, {})) for name in scenario["tasks"]]
    pretrainer = tiny_pretrainer(
        tasks,
        size=SIZES[scenario["num_layers"]],
        jit_compile=jit_compile,
        **scenario["optimizer"],
        **scenario["pretrainer"],
    )
    if weights is not None:
        variables = named_variables(pretrainer)
        assert list(variables) == list(weights)
        for name, variable in variables.items():
            variable.assign(weights[name])
    return pretrainer


def named_variables(pretrainer):
    """dict of unique name to variable: encoder, head, projections, key encoder and queue."""
    metrics = {id(variable) for variable in pretrainer.metrics_variables}
    kept = [variable for variable in pretrainer.variables if id(variable) not in metrics]
    return {f"{number:03d} {variable.path}": variable for number, variable in enumerate(kept)}


def train(pretrainer, batches):
    """Metrics of every execution (a step, if `steps_per_execution` is 1) by `fit`, an execution an epoch."""
    steps = pretrainer.steps_per_execution
    options = {"steps_per_epoch": steps, "epochs": len(batches) // steps, "verbose": 0, "shuffle": False}
    return pretrainer.fit(((batch,) for batch in batches), **options).history


def read_inputs(directory, scenario_name):
    """(weights, list of batches) of a scenario."""
    weights, batches = {}, {}
    with np.load(directory / "inputs.npz") as file:
        for key in sorted(file.files):
            scenario, kind, rest = key.split("|", 2)
            if scenario == scenario_name and kind == "weight":
                weights[rest] = file[key]
            elif scenario == scenario_name:
                step, task, name = rest.split("|")
                batches.setdefault(int(step), {}).setdefault(task, {})[name] = file[key]
    return weights, [batches[step] for step in sorted(batches)]


# === What a traced step is made of ===


def tensorflow_graph(pretrainer, batch):
    """(names of all operations, tensors of unknown shape) of the step, inner functions included."""
    import tensorflow as tf

    specification = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), batch)
    step = tf.function(pretrainer.train_step, jit_compile=True, autograph=False)
    step = step.get_concrete_function((specification,))
    definition = step.graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    inner = [step.graph._get_function(function.signature.name) for function in definition.library.function]
    graphs = [step.graph, *(function.graph for function in inner if function is not None)]
    unknown = [
        f"{graph.name}:{tensor.name}"
        for graph in graphs
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if not tensor.shape.is_fully_defined()
        # Lists of axes for a gradient's sum, and names that stand for nothing: the compiler computes with neither.
        and operation.type != "BroadcastGradientArgs"
        and "redundant_placeholder" not in operation.name
    ]
    assert len(graphs) > 3
    return sorted({node.op for node in nodes}), unknown


def jax_program(pretrainer, batch):
    """Names of all primitives of the step, inner programs included."""
    from jax import make_jaxpr
    from jax.extend.core import ClosedJaxpr, Jaxpr

    groups = ("trainable_variables", "non_trainable_variables", None, "metrics_variables")
    state = tuple(
        [variable.value for variable in (getattr(pretrainer, group) if group else pretrainer.optimizer.variables)]
        for group in groups
    )
    names = set()

    def walk(value):
        # In this order: JAX 0.12 has one class for both.
        if isinstance(value, Jaxpr):
            for equation in value.eqns:
                names.add(equation.primitive.name)
                walk(list(equation.params.values()))
        elif isinstance(value, ClosedJaxpr):
            walk(value.jaxpr)
        elif isinstance(value, list | tuple):
            for part in value:
                walk(part)

    walk(make_jaxpr(pretrainer.train_step)(state, (batch,)))
    return sorted(names), []


class OneModule(contextlib.nullcontext):
    """What PyTorch's counter of operations asks which modules are at work: always the whole."""

    parents = frozenset({"Global"})


def torch_flops(scenario, weights, batch):
    """(counted by PyTorch, stated by the tasks, logged): operations of one step's matrix products."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # In chunks of the vocabulary, logits are computed twice to save memory.
    whole = {name: {**scenario[name], "max_logits": 10**9} for name in ("mmlm", "mrtd") if name in scenario}
    pretrainer = build({**scenario, **whole}, False, weights)
    batch = keras.tree.map_structure(ops.convert_to_tensor, batch)
    counter = FlopCounterMode(display=False)
    # Its table by module fails where a layer without gradients reads a part of a weight that is trained.
    counter.mod_tracker = OneModule()
    # Kernels for the CPU that fuse attention are not counted.
    with counter, sdpa_kernel(SDPBackend.MATH):
        logs = pretrainer.train_step((batch,))
    return counter.get_total_flops(), pretrainer.flops(batch), float(logs["tflop_per_step"]) * 1e12


def filled_queue(pretrainer, batches):
    """(keys of the queue after it was filled, how often Python ran through the filling)."""
    calls, fill_tasks = [], pretrainer.fill_tasks

    def counted(batch):
        calls.append(batch)
        return fill_tasks(batch)

    pretrainer.fill_tasks = counted
    fill_queue(pretrainer, pretrainer.task("xlco"), ({"xlco": batch["xlco"]} for batch in batches))
    return ops.convert_to_numpy(pretrainer.task("xlco").queue.keys), len(calls)


def evaluations(pretrainer, batch):
    """The total loss of a batch by `evaluate` after as many updates, before and after tasks are enabled."""
    found, updates = [], pretrainer.optimizer.iterations
    present = ops.convert_to_numpy(updates)
    for number in (20, 0, 2, 20, 0):
        updates.assign(number)
        found.append(pretrainer.evaluate(((batch,) for _ in range(1)), steps=1, verbose=0, return_dict=True)["loss"])
    updates.assign(present)
    return np.array(found)


def restored_table(pretrainer):
    """(token embedding, a row, the embedding after the row was put in the place of `<pad>`'s)."""
    embeddings = pretrainer.backbone.token_embedding.embeddings
    before = ops.convert_to_numpy(embeddings).copy()
    row = np.linspace(-3, 3, before.shape[1], dtype=np.float32)[None]
    with torch_without_gradients():
        pretrainer.restore_padding_row(ops.convert_to_tensor(row))
    return before, row, ops.convert_to_numpy(embeddings)


def fused_updates():
    """Weights after five updates by the fused kernel and by Keras alone, and which optimizers the kernel takes."""
    from infoxlm_keras.training.fused_adamw import update_by_fused_kernel
    from infoxlm_keras.training.optimizer import build_optimizer

    class OwnAdam(keras.optimizers.Adam):
        pass

    weights = []
    for fused in (True, False):
        generator = np.random.default_rng(0)
        variables = [
            keras.Variable(generator.normal(0, 1, shape).astype("float32"), name=name)
            for shape, name in (((40, 3), "kernel"), ((5,), "bias"))
        ]
        optimizer = build_optimizer(0.1, total_steps=8, warmup_steps=2, weight_decay=0.3)
        if fused:
            assert update_by_fused_kernel(optimizer)
        optimizer.build(variables)
        for step in range(5):
            gradients = [generator.normal(0, 10.0**-step, variable.shape) for variable in variables]
            with torch_without_gradients():
                optimizer.apply([ops.convert_to_tensor(each, "float32") for each in gradients], variables)
        weights.append(np.concatenate([ops.convert_to_numpy(variable).ravel() for variable in variables]))
    others = (keras.optimizers.AdamW(1.0, amsgrad=True), keras.optimizers.SGD(1.0), OwnAdam(1.0))
    return weights, [update_by_fused_kernel(optimizer) for optimizer in (keras.optimizers.Adam(1.0), *others)]


def torch_without_gradients():
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def main(directory):
    scenarios = json.loads((directory / "scenarios.json").read_text())
    backend = keras.backend.backend()
    arrays, facts = {}, {"backend": backend, "imports_tensorflow": sys.modules.get("tensorflow") is not None}
    for name, scenario in scenarios.items():
        weights, batches = read_inputs(directory, name)
        pretrainer = build(scenario, jit_compile=backend in scenario["compiled_on"], weights=weights)
        for metric, values in train(pretrainer, batches).items():
            arrays[f"{name}|metric|{metric}"] = np.array(values, np.float64)
        for variable_name, variable in named_variables(pretrainer).items():
            arrays[f"{name}|variable|{variable_name}"] = ops.convert_to_numpy(variable)
        facts[f"rate of {name}"] = float(ops.convert_to_numpy(rate_of_last_update(pretrainer.optimizer)))
        arrays[f"{name}|iterations"] = ops.convert_to_numpy(pretrainer.optimizer.iterations)
        if name == "joint_count":
            arrays["evaluations"] = evaluations(pretrainer, batches[0])
        if name == "sum_of_means":
            arrays["filled queue"], facts["calls of fill_tasks"] = filled_queue(
                build(scenario, False, weights), batches
            )
        if backend == "torch":
            if "taken by the kernel" not in facts:
                arrays["updates"], facts["taken by the kernel"] = fused_updates()
            facts[f"flops {name}"] = torch_flops(scenario, weights, batches[0])
        for key, array in zip(("before", "row", "after"), restored_table(pretrainer), strict=True):
            arrays[f"{name}|table|{key}"] = array
        if backend != "torch" and name == "joint_count":
            # The largest: a loop over micro-batches around all tasks.
            trace = tensorflow_graph if backend == "tensorflow" else jax_program
            operations, unknown_shapes = trace(build(scenario, True, weights), batches[0])
            facts.update(operations=operations, unknown_shapes=unknown_shapes)
    np.savez(directory / f"{backend}.npz", **arrays)
    (directory / f"{backend}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
