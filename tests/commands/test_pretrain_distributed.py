"""The pre-training command on several replicas: the same run, resumed on any number of them, written by the chief."""

import json
import shutil
import socket

import numpy as np
import pytest

from forking_commands import ForkingCommands
from infoxlm_keras.commands import pretrain
from infoxlm_keras.distribution.strategies import choose_distribution
from infoxlm_keras.errors import InputError
from quick_runs import quick_runs
from repository import REPOSITORY
from running import run, tree
from tiny_run import arguments, history, weights

pytestmark = pytest.mark.slow

# Dropout draws differently on each replica.
OPTIONS = ["--set", "model.dropout=0.0", "--tasks", "mmlm,xlco", "--set", "model.num_layers=1"]
OPTIONS += ["--set", "data.validation_records=4", "--set", "evaluation.every=4"]
OPTIONS += ["--set", "evaluation.validation_batches=2"]


@pytest.fixture(scope="module")
def runs(inputs, tmp_path_factory):
    """dict of strategy to output directory; two workers continue from the checkpoint of two replicas."""
    root = tmp_path_factory.mktemp("distributed")
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with ForkingCommands(REPOSITORY, QUICK_RUNS="1", **environment) as commands:
        mirrored = [*OPTIONS, "--strategy", "mirrored", "--replicas", 2]
        process = commands.start(root / "mirrored.log", arguments(inputs, root / "mirrored", *mirrored))
        with quick_runs():
            run(pretrain.main, *arguments(inputs, root / "one", *OPTIONS, "--strategy", "one"))
        assert commands.wait(process) == 0, (root / "mirrored.log").read_text()[-3000:]

        shutil.copytree(root / "mirrored", root / "multiworker")
        for name in ("model", "checkpoints/step-00000008"):
            shutil.rmtree(root / "multiworker" / name)
        with socket.create_server(("localhost", 0)) as first, socket.create_server(("localhost", 0)) as second:
            workers = [f"localhost:{server.getsockname()[1]}" for server in (first, second)]
        # The environment names a cluster, and that is what auto then takes.
        processes = [
            commands.start(
                root / f"worker_{index}.log",
                arguments(inputs, root / "multiworker", *OPTIONS),
                TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
            )
            for index in range(2)
        ]
        for index, process in enumerate(processes):
            assert commands.wait(process) == 0, (root / f"worker_{index}.log").read_text()[-3000:]
    return root


@pytest.mark.parametrize("strategy", ["mirrored", "multiworker"])
def test_the_same_losses_and_weights_as_on_one_replica(runs, strategy):
    expected, actual = history(runs / "one"), history(runs / strategy)
    assert [row["step"] for row in actual] == [row["step"] for row in expected] == ["0", "2", "4", "6", "8"]
    training = ("loss", "mmlm_loss", "xlco_loss", "tokens_per_step", "learning_rate")
    validation = ("val_loss", "val_mmlm_loss", "val_xlco_loss")
    for row, other in zip(actual, expected, strict=True):
        names = (training if row["step"] != "0" else ()) + (validation if row["step"] in ("0", "4", "8") else ())
        for name in names:
            assert float(row[name]) == pytest.approx(float(other[name]), rel=1e-3), (name, row["step"])
    for one, other in zip(weights(runs / strategy), weights(runs / "one"), strict=True):
        assert np.abs(one - other).max() < 1e-2


def test_what_is_printed(runs):
    printed = (runs / "mirrored.log").read_text().replace(" ", "")
    for line in (
        "strategy=mirrored",
        "devices=/device:CPU:0,/device:CPU:1",
        "replicas=2",
        "globalbatch=mmlm4,xlco4",
        "batchperreplica=mmlm2,xlco2",
    ):
        assert f"\n{line}\n" in printed, line


def test_workers_of_different_settings_do_not_train_together(inputs, tmp_path):
    environment = {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with socket.create_server(("localhost", 0)) as first, socket.create_server(("localhost", 0)) as second:
        workers = [f"localhost:{server.getsockname()[1]}" for server in (first, second)]
    with ForkingCommands(REPOSITORY, QUICK_RUNS="1", **environment) as commands:
        processes = [
            commands.start(
                tmp_path / f"worker_{index}.log",
                arguments(inputs, tmp_path / "run", *OPTIONS, "--set", f"seed={1 + index}"),
                TF_CONFIG=json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}),
            )
            for index in range(2)
        ]
        codes = [commands.wait(process) for process in processes]
    printed = [(tmp_path / f"worker_{index}.log").read_text() for index in range(2)]
    assert codes == [2, 2], printed[0][-2000:]
    for text in printed:
        assert "the workers do not agree on their settings and versions; start all with the same command" in text
    assert not (tmp_path / "run" / "model").exists()


def test_one_worker_of_several_is_refused_without_a_strategy_for_them(monkeypatch):
    cluster = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    for name in ("one", "mirrored"):
        with pytest.raises(InputError, match=f"TF_CONFIG = .*--strategy {name} each would train alone"):
            choose_distribution(name)


def test_only_the_chief_writes(runs):
    chief, other = ((runs / f"worker_{index}.log").read_text() for index in range(2))
    assert "worker=0of0..1" in chief.replace(" ", "") and "worker=1of0..1" in other.replace(" ", "")
    for printed in (chief, other):
        assert "resuming at step 6 of 8" in printed
    assert "preset: " in chief and "preset: " not in other
    # Each run of the command opens a file of events, and only the chief's.
    assert len(list((runs / "multiworker" / "tensorboard").iterdir())) == 2
    assert set(tree(runs / "multiworker" / "model")) == set(tree(runs / "one" / "model"))
    assert not [name for name in tree(runs) if "partial" in name]
