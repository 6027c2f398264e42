"""The number of replicas changes nothing: one, two in a process, or two processes, on TensorFlow, JAX and PyTorch."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from backend_worker import named_variables
from distribution_worker import build, results_of, train_distributed
from quick_runs import quick_graphs
from repository import SUPPORT
from tiny_pretraining import array, joint_batch

pytestmark = pytest.mark.slow

STEPS = 10
BAD_STEP = 5
SCENARIOS = {
    # In-batch negatives, which lie on both replicas; replaced tokens; a teacher; no clipping.
    "plain": {
        "tasks": ["mmlm", "xlco", "mrtd", "distillation"],
        "distillation": {"width": 12},
        "xlco": {
            "queue_length": 13,
            "universal_layer": 1,
            "temperature": 0.2,
            "pooling": "mean",
            "normalize": True,
            "in_batch_negatives": True,
            "momentum": 0.9,
        },
        "optimizer": {"learning_rate": 5e-3, "total_steps": 30, "warmup_steps": 4},
        "pretrainer": {"loss_combination": "sum_of_means", "clip_norm": None},
        "jit_compile": False,
        "steps_per_execution": 1,
        "runs": ["mirrored", "worker_0", "worker_1", "jax", "jax_0", "jax_1", "torch_0", "torch_1"],
    },
    # Four micro-batches, active clipping, and a step that is not finite because of one replica's sample. Words are
    # aligned in TLM's forward pass. Schedule-Free AdamW.
    "accumulated": {
        "tasks": ["tlm", "xlco", "dwa"],
        "xlco": {"queue_length": 21, "universal_layer": 1, "enable_step": 3, "momentum": 0.8},
        "optimizer": {"learning_rate": 5e-3, "total_steps": 25},
        "pretrainer": {
            "optimizer": {"name": "schedule_free", "schedule": "constant"},
            "loss_combination": "joint_count",
            "accumulation_steps": 4,
            "clip_norm": 0.3,
        },
        "jit_compile": False,
        "steps_per_execution": 1,
        "runs": ["mirrored", "worker_0", "worker_1", "jax", "jax_0", "jax_1", "torch_0", "torch_1"],
    },
    # Sentence vectors: each sample is contrasted with those of all micro-batches of both replicas. Muon.
    "vectors": {
        "tasks": ["training"],
        "training": {"temperature": 0.2, "dimensions": [4], "margin": 0.1, "teacher_weight": 0.5},
        "optimizer": {"learning_rate": 5e-3, "total_steps": 25},
        "pretrainer": {"optimizer": {"name": "muon", "schedule": "cosine"}, "accumulation_steps": 2, "clip_norm": 0.3},
        "jit_compile": False,
        "steps_per_execution": 1,
        "runs": ["mirrored", "worker_0", "worker_1", "jax", "jax_0", "jax_1", "torch_0", "torch_1"],
    },
    # Everything at once: compiled by XLA, half precision, micro-batches, clipping, five steps an execution.
    "together": {
        "tasks": ["xlco"],
        "xlco": {"queue_length": 21, "universal_layer": 1, "normalize": True, "momentum": 0.8},
        "optimizer": {"learning_rate": 2e-3, "total_steps": 25},
        "pretrainer": {"accumulation_steps": 2, "clip_norm": 0.3, "dtype": "mixed_bfloat16"},
        "jit_compile": True,
        "steps_per_execution": 5,
        "runs": ["mirrored"],
    },
}
JOINT = ("mmlm", "tlm", "xlco", "mrtd", "training")
# Their true gradient is zero, and Adam makes steps of what rounding leaves.
KEY_BIASES = ("key/bias", "pointer_key_bias")
# The second process must hold the bits of the first, which another test asserts.
SECOND = ("worker_1", "jax_1", "torch_1")
CASES = [(scenario, run) for scenario, settings in SCENARIOS.items() for run in settings["runs"] if run not in SECOND]


def batches_of(number, name):
    generator = np.random.default_rng(number)
    batches = []
    for step in range(STEPS):
        sizes = {task: 8 if task in SCENARIOS[name]["tasks"] else 0 for task in JOINT}
        batch = joint_batch(generator, **sizes, pairs="dwa" in SCENARIOS[name]["tasks"])
        if name == "accumulated" and step == BAD_STEP:
            batch["tlm"]["mask_weights"][-1, 0] = np.inf
        batches.append(batch)
    return batches


def on_one_replica(directory):
    """Writes the workers' inputs, and returns what they should find, as trained in this process."""
    inputs, arrays = {}, {}
    for number, (name, scenario) in enumerate(SCENARIOS.items()):
        pretrainer = build(scenario, jit_compile=False)
        for variable_name, variable in named_variables(pretrainer).items():
            inputs[f"{name}|weight|{variable_name}"] = array(variable).astype(variable.dtype)
        batches = batches_of(number, name)
        for step, batch in enumerate(batches):
            for task, tensors in batch.items():
                for key, tensor in tensors.items():
                    inputs[f"{name}|batch|{step}|{task}|{key}"] = tensor
        metrics = train_distributed(pretrainer, batches, scenario["steps_per_execution"])
        arrays.update(results_of(name, pretrainer, metrics))
    np.savez(directory / "inputs.npz", **inputs)
    (directory / "scenarios.json").write_text(json.dumps(SCENARIOS))
    return arrays


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """dict of run to (arrays, facts); the processes run at the same time."""
    directory = tmp_path_factory.mktemp("distribution")
    with quick_graphs():
        found = {"one": (on_one_replica(directory), {})}
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(4)]
        *workers, coordinator, torch_address = [f"localhost:{server.getsockname()[1]}" for server in servers]
    address, port = torch_address.split(":")

    def cluster(index):
        return {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})}

    def jax_process(index):
        return {"INFOXLM_COORDINATOR": coordinator, "INFOXLM_PROCESSES": "2", "INFOXLM_PROCESS": str(index)}

    def rank(index):
        return {"WORLD_SIZE": "2", "RANK": str(index), "MASTER_ADDR": address, "MASTER_PORT": port}

    runs = {
        "tensorflow": {
            "mirrored": ("mirrored", {}),
            "worker_0": ("multiworker", cluster(0)),
            "worker_1": ("multiworker", cluster(1)),
        },
        "jax": {
            "jax": ("mirrored", {}),
            "jax_0": ("multiworker", jax_process(0)),
            "jax_1": ("multiworker", jax_process(1)),
        },
        "torch": {"torch_0": ("multiworker", rank(0)), "torch_1": ("multiworker", rank(1))},
    }
    processes = {}
    for backend, commands in runs.items():
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, SUPPORT / "distribution_worker.py", directory, json.dumps(commands)]
        processes[backend] = subprocess.Popen(command, env=environment)
    for backend, process in processes.items():
        code = process.wait()
        logs = [f"{name}: {(directory / f'{name}.log').read_text()[-3000:]}" for name in runs[backend]]
        assert code == 0, "\n".join(logs)
    for name in itertools.chain(*runs.values()):
        with np.load(directory / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        found[name] = arrays, json.loads((directory / f"{name}.json").read_text())
    return found


def test_every_run_had_two_replicas(results):
    for name in ("mirrored", "worker_0", "worker_1", "jax", "jax_0", "jax_1", "torch_0", "torch_1"):
        facts = results[name][1]
        assert facts["replicas"] == 2 and facts["worker"] == (1 if name in SECOND else 0)


@pytest.mark.parametrize(("scenario", "run"), CASES)
def test_equal_metrics_at_every_step(results, scenario, run):
    arrays, reference = results[run][0], results["one"][0]
    names = [key.split("|")[-1] for key in reference if key.startswith(f"{scenario}|metric|")]
    losses = {f"{task}_loss" for task in SCENARIOS[scenario]["tasks"]}
    assert {"loss", "gradient_norm", "tokens_per_step", *losses} < set(names)
    half = scenario == "together"
    for name in names:
        expected, actual = (part[f"{scenario}|metric|{name}"] for part in (reference, arrays))
        assert actual.shape == (STEPS // SCENARIOS[scenario]["steps_per_execution"],)
        # A guess that changes with the last bit of a half-precision logit is one of 40.
        tolerance = 1e-4 if not half else 0.15 if name.endswith("accuracy") else 2e-2
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=name)
    norms, limit = reference[f"{scenario}|metric|gradient_norm"], SCENARIOS[scenario]["pretrainer"]["clip_norm"]
    assert limit is None or (norms > limit).any()


@pytest.mark.parametrize(("scenario", "run"), CASES)
def test_equal_variables_after_training(results, scenario, run):
    """Queue, key encoder and counters; the query encoder too."""
    arrays, reference = results[run][0], results["one"][0]
    names = [key for key in reference if key.startswith(f"{scenario}|variable|")]
    tasks = SCENARIOS[scenario]["tasks"]
    contrasts = int("xlco" in tasks)
    assert sum("queue/keys" in name for name in names) == contrasts
    # Of the encoder and of its moving average, and of a teacher.
    embeddings = 1 + contrasts + int("distillation" in tasks)
    assert sum(name.endswith("token_embedding/embeddings") for name in names) == embeddings
    for name in [*names, f"{scenario}|iterations"]:
        expected, actual = reference[name], arrays[name]
        if expected.dtype.kind in "iu":
            assert np.array_equal(actual, expected), name
            continue
        if name.endswith("/rounding_errors"):
            # What lies below the last bit of the key encoder's weights: no more than that.
            assert np.abs(actual).max() < 1e-6 and np.abs(expected).max() < 1e-6
            continue
        # The true gradient of the attention's key bias is zero, and Adam makes steps of what rounding leaves.
        tolerance = 5e-2 if scenario == "together" else 1e-3 if name.endswith(KEY_BIASES) else 1e-4
        limit = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=limit, err_msg=name)


def test_workers_tell_each_other_what_one_of_them_knows(results):
    for name in ("worker_0", "worker_1", "jax_0", "jax_1", "torch_0", "torch_1"):
        facts = results[name][1]
        assert facts["any_worker"] == [True, True, False]
        assert facts["disagreement"] == "the workers do not agree on their number: 0, 1"
    facts = results["mirrored"][1]
    assert facts["any_worker"] == [True, False, False] and "disagreement" not in facts


def test_weights_cut_over_two_devices_train_alike(results):
    losses, parts = results["jax"][1]["model_parallel plain"]
    np.testing.assert_allclose(losses, results["one"][0]["plain|metric|loss"][: len(losses)], rtol=1e-4)
    # Of the encoder and of its moving average: embedding, query, key and value (2 each), 4 more matrices and biases;
    # of the optimizer two moments of each. Of the generator the same, but for embedding and average; of the teacher's
    # 3 layers all but average and moments.
    of_layer = 6 + 1 + 3
    assert len(parts) == 4 * (1 + of_layer) + 3 * of_layer + 1 + 3 * of_layer
    assert sum("token_embedding" in path for path in parts) == 4 + 1


def test_weights_and_optimizer_cut_over_the_replicas_train_alike(results):
    """Micro-batches, clipping and a step that is not finite included, with rematerialisation."""
    losses, parts = results["jax"][1]["fsdp accumulated"]
    expected = results["one"][0]["accumulated|metric|loss"][: len(losses)]
    assert len(losses) > BAD_STEP + 1 and losses[BAD_STEP] == 0
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    # Embedding and 6 matrices a layer, of the encoder, of its moving average, and of two moments.
    assert len(parts) == 4 * (1 + 6) and sum("embeddings" in path for path in parts) == 4


def test_cut_weights_in_half_precision_and_five_steps_an_execution(results):
    losses, parts = results["jax"][1]["fsdp together"]
    expected = results["one"][0]["together|metric|loss"][: len(losses)]
    assert len(losses) == 2
    np.testing.assert_allclose(losses, expected, rtol=2e-2)
    assert len(parts) == 4 * (1 + 6)


def test_replicas_and_workers_hold_the_same_bits(results):
    for scenario, settings in SCENARIOS.items():
        for run in settings["runs"]:
            assert results[run][1][f"differing {scenario}"] == []
    for kind in ("worker", "jax", "torch"):
        first, second = results[f"{kind}_0"][0], results[f"{kind}_1"][0]
        assert set(first) == set(second) and len(first) > 100
        for name in first:
            assert np.array_equal(first[name], second[name]), name


def test_replicas_have_different_numbers_of_masked_tokens(results):
    for number, (name, task) in enumerate([("plain", "mmlm"), ("accumulated", "tlm")]):
        counts = [batch[task]["mask_weights"].reshape(2, -1).sum(axis=1) for batch in batches_of(number, name)]
        assert np.mean([first != second for first, second in counts]) > 0.5


def test_one_replicas_bad_sample_skips_the_step_of_all(results):
    for run in ("one", *SCENARIOS["accumulated"]["runs"]):
        arrays = results[run][0]
        skipped = [value for key, value in arrays.items() if key.startswith("accumulated") and "/skipped_steps" in key]
        assert skipped == [1] and arrays["accumulated|iterations"] == STEPS - 1
