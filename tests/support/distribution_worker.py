"""Trains tiny pretrainers on several replicas: `python distribution_worker.py DIRECTORY RUNS`.

RUNS holds, as JSON, `{NAME: [STRATEGY, ENVIRONMENT]}`; each run has a process of its own, forked from this one, which
has imported everything. It reads `inputs.npz` and `scenarios.json` as `backend_worker.py` does, and writes `NAME.npz`,
`NAME.json` and `NAME.log`. The strategy is one of the command line's, on two CPU devices; for `multiworker` TF_CONFIG
(on JAX INFOXLM_PROCESS, on PyTorch RANK) says which worker it is.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import traceback

if __name__ == "__main__":
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        sys.modules["tensorflow"] = sys.modules["tensorflow_text"] = None

import keras
import numpy as np
from keras import ops

from backend_worker import TASKS, named_variables, read_inputs, train
from infoxlm_keras.distribution import current_distribution
from infoxlm_keras.distribution.agreement import check_agreement, on_any_worker
from infoxlm_keras.distribution.strategies import choose_distribution
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.rematerialization import rematerialize_layers
from quick_runs import quick_graphs
from tiny_pretraining import TINY_SIZE, tiny_pretrainer

# Strategies that cut weights over the devices, with the scenario and the number of steps of each.
CUT = (("model_parallel", "plain", 8), ("fsdp", "accumulated", 8), ("fsdp", "together", 10))
# All kinds of variables once: tracing takes most of the time.
ONE_LAYER = dataclasses.replace(TINY_SIZE, num_layers=1)


def build(scenario, jit_compile, weights=None):
    """The pretrainer of a scenario; `weights` maps `<number> <path>` to a value for every variable."""
    tasks = [TASKS[name](**scenario.get(name, {})) for name in scenario["tasks"]]
    options = {**scenario["optimizer"], **scenario["pretrainer"]}
    pretrainer = tiny_pretrainer(tasks, size=ONE_LAYER, jit_compile=jit_compile, **options)
    variables = named_variables(pretrainer)
    assert weights is None or list(variables) == list(weights)
    for name, value in (weights or {}).items():
        variables[name].assign(value)
    return pretrainer


def dataset_of(batches):
    """The batches as a `tf.data.Dataset`."""
    import tensorflow as tf

    stacked = keras.tree.map_structure(lambda *arrays: np.stack(arrays), *batches)
    return tf.data.Dataset.from_tensor_slices(stacked)


def train_distributed(pretrainer, batches, steps_per_execution):
    """Metrics of every `steps_per_execution` steps by `fit`, an execution an epoch."""
    options = {"steps_per_epoch": steps_per_execution, "epochs": len(batches) // steps_per_execution, "verbose": 0}
    history = pretrainer.fit(dataset_of(batches), shuffle=False, **options)
    return history.history


def results_of(scenario_name, pretrainer, metrics):
    """dict of name to array: metrics and variables of a trained pretrainer."""
    arrays = {f"{scenario_name}|metric|{name}": np.array(values, np.float64) for name, values in metrics.items()}
    for name, variable in named_variables(pretrainer).items():
        arrays[f"{scenario_name}|variable|{name}"] = ops.convert_to_numpy(variable)
    arrays[f"{scenario_name}|iterations"] = ops.convert_to_numpy(pretrainer.optimizer.iterations)
    return arrays


def differing_replicas(pretrainer):
    """Names of the variables, metrics and optimizer included, whose copies on local replicas are not bit-identical."""
    names = []
    for variable in [*pretrainer.variables, *pretrainer.optimizer.variables]:
        if keras.backend.backend() == "torch":
            continue
        if keras.backend.backend() == "jax":
            copies = [np.asarray(shard.data) for shard in variable.value.addressable_shards]
        else:
            copies = [copy.numpy() for copy in getattr(variable.value, "values", ())]
        if any(copy.tobytes() != copies[0].tobytes() for copy in copies):
            names.append(variable.path)
    return names


def train_with_cut_weights(directory, strategy, name, scenario, steps):
    """(losses of the first steps, paths of the variables of which each device holds a part at the end), on JAX."""
    weights, batches = read_inputs(directory, name)
    with choose_distribution(strategy).scope():
        pretrainer = build(scenario, True, weights)
        pretrainer.steps_per_execution = scenario["steps_per_execution"]
        rematerialize_layers(pretrainer.backbone)
        losses = train(pretrainer, batches[:steps])["loss"]
        variables = [*pretrainer.variables, *pretrainer.optimizer.variables]
        return losses, [each.path for each in variables if not each.value.sharding.is_fully_replicated]


def main(directory, strategy, name):
    arrays, facts = {}, {}
    # JAX refuses to give processes variables of different initial values.
    keras.utils.set_random_seed(0)
    with choose_distribution(strategy, replicas=2 if strategy == "mirrored" else None).scope() as distribution:
        facts["replicas"] = distribution.num_replicas
        facts["worker"] = distribution.worker
        for scenario_name, scenario in json.loads((directory / "scenarios.json").read_text()).items():
            if name not in scenario["runs"]:
                continue
            weights, batches = read_inputs(directory, scenario_name)
            compiled = scenario["jit_compile"] or keras.backend.backend() == "jax"
            with distribution.variables():
                pretrainer = build(scenario, jit_compile=compiled, weights=weights)
            pretrainer.steps_per_execution = scenario["steps_per_execution"]
            if keras.backend.backend() != "tensorflow":
                metrics = train(pretrainer, batches)
            else:
                metrics = train_distributed(pretrainer, batches, scenario["steps_per_execution"])
            facts[f"differing {scenario_name}"] = differing_replicas(pretrainer)
            arrays.update(results_of(scenario_name, pretrainer, metrics))
        assert current_distribution() is distribution
        facts["any_worker"] = [on_any_worker(distribution.worker == number) for number in (0, 1, 2)]
        check_agreement(7, "a number")
        try:
            check_agreement(distribution.worker, "their number")
        except InputError as error:
            facts["disagreement"] = str(error)
    if keras.backend.backend() == "jax" and strategy == "mirrored":
        scenarios = json.loads((directory / "scenarios.json").read_text())
        for cut, name_of_scenario, steps in CUT:
            scenario = scenarios[name_of_scenario]
            key = f"{cut} {name_of_scenario}"
            facts[key] = train_with_cut_weights(directory, cut, name_of_scenario, scenario, steps)
    np.savez(directory / f"{name}.npz", **arrays)
    (directory / f"{name}.json").write_text(json.dumps(facts))


def start(directory, name, strategy, environment):
    """The id of a process that was forked for a run."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        with open(directory / f"{name}.log", "w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        os.environ.update(environment)
        with quick_graphs() if keras.backend.backend() == "tensorflow" else contextlib.nullcontext():
            main(directory, strategy, name)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    runs = json.loads(sys.argv[2]).items()
    processes = [start(folder, name, strategy, environment) for name, (strategy, environment) in runs]
    sys.exit(any([os.waitpid(process, 0)[1] for process in processes]))
