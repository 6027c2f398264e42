"""The fine-tuning command on two processes of each backend: one run, which a kill of either does not change."""

import contextlib
import csv
import json
import os
import signal
import socket

import h5py
import numpy as np
import pytest

from forking_commands import ForkingCommands
from repository import REPOSITORY
from running import tree
from sample_text import sentences
from two_processes import finish, printed, wait_for

pytestmark = pytest.mark.slow

# Micro-batches, a last batch of three samples that both processes must share, development data and a choice by them.
OPTIONS = ["--epochs", 2, "--batch_size", 8, "--accumulation_steps", 2, "--learning_rate", 0.01]
OPTIONS += ["--dropout", 0.0, "--evaluate_every", 2, "--save_every", 2, "--max_length", 32]
RUN = "runs/lr-0.01_seed-0"


def free_addresses(count):
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("localhost", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def on_tensorflow(index, ports):
    cluster = {"cluster": {"worker": [f"localhost:{port}" for port in ports]}}
    return [], {"TF_CONFIG": json.dumps({**cluster, "task": {"type": "worker", "index": index}})}


def on_jax(index, ports):
    cluster = ["--strategy", "multiworker", "--coordinator", f"localhost:{ports[0]}", "--processes", 2]
    return [*cluster, "--process", index], {}


def on_torch(index, ports):
    return [], {
        "WORLD_SIZE": "2",
        "RANK": str(index),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(ports[0]),
    }


CLUSTERS = {"tensorflow": on_tensorflow, "jax": on_jax, "torch": on_torch}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Directory with training, development and test data."""
    root = tmp_path_factory.mktemp("texts")
    for name, language, count, start in (("train", "en", 19, 0), ("dev", "en", 7, 30), ("test", "de", 9, 50)):
        with open(root / f"{name}.{language}.tsv", "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter="\t")
            rows.writerow(["sentence1", "sentence2", "label"])
            seconds = [("door open", "a"), ("river river", "b")]
            rows.writerows((text, *seconds[n % 2]) for n, text in enumerate(sentences(language, count, start)))
    return root


@pytest.fixture(scope="module", params=CLUSTERS)
def runs(request, files, tiny_preset, tmp_path_factory):
    """Directory with a run on `one` process, on `two`, and `killed`: one of two is killed, then both start again."""
    root = tmp_path_factory.mktemp(request.param)
    for name in ("two", "killed"):
        (root / name).mkdir()

    def arguments(directory):
        data = ["--train", files / "train.en.tsv", "--dev", files / "dev.en.tsv", "--test", files / "test.de.tsv"]
        return ["--model", tiny_preset, *data, *OPTIONS, "--output_dir", directory]

    def start_both(commands, directory):
        ports = free_addresses(2)
        both = [CLUSTERS[request.param](index, ports) for index in range(2)]
        return [
            commands.start(directory / f"process_{index}.log", [*arguments(directory / "run"), *more], **environment)
            for index, (more, environment) in enumerate(both)
        ]

    environment = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1", "QUICK_RUNS": "1"}
    with ForkingCommands(
        REPOSITORY, "finetune_classification", KERAS_BACKEND=request.param, **environment
    ) as commands:
        one = commands.start(root / "one.log", arguments(root / "one"))
        finish(commands, root / "two", start_both(commands, root / "two"))
        assert commands.wait(one) == 0, (root / "one.log").read_text()[-3000:]
        killed = root / "killed"
        processes = start_both(commands, killed)
        wait_for(killed / "run" / RUN / "checkpoints" / "step-00000002", killed)
        os.kill(processes[1], signal.SIGKILL)
        codes = [commands.wait(process) for process in processes]
        assert codes[0] != 0 and codes[1] == -signal.SIGKILL, printed(killed, 0)[-3000:]
        finish(commands, killed, start_both(commands, killed))
    return root


def weights(directory):
    """dict of place to array, of the tuned model's files."""
    found = {}

    def read(place, item):
        if isinstance(item, h5py.Dataset):
            found[f"{path.name}/{place}"] = item[()]

    for path in (directory / "model").glob("*.h5"):
        with h5py.File(path) as file:
            file.visititems(read)
    assert len(found) > 20
    return found


def results(directory):
    return json.loads((directory / "results.json").read_text())


def test_the_same_losses_scores_and_weights_as_on_one_process(runs):
    one, two = results(runs / "one"), results(runs / "two" / "run")
    assert [e["update"] for e in two["evaluations"]] == [e["update"] for e in one["evaluations"]] == [2, 4, 6]
    for row, other in zip(two["evaluations"], one["evaluations"], strict=True):
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert {key: two[key] for key in ("update", "accuracy")} == {key: one[key] for key in ("update", "accuracy")}
    found, expected = weights(runs / "two" / "run"), weights(runs / "one")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_a_kill_of_one_process_changes_no_bit(runs):
    assert "resum" in printed(runs / "killed", 0)
    whole, resumed = weights(runs / "two" / "run"), weights(runs / "killed" / "run")
    assert all(value.tobytes() == resumed[name].tobytes() for name, value in whole.items())
    assert results(runs / "killed" / "run") == results(runs / "two" / "run")


def test_only_the_first_process_writes_and_reports(runs):
    written = [
        {name for name in tree(runs / run) if "tensorboard" not in name} for run in ("one", "two/run", "killed/run")
    ]
    assert written[0] == written[1] == written[2]
    assert "step 6/6" in printed(runs / "two", 0) and "step 6/6" not in printed(runs / "two", 1)
