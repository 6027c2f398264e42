"""The pre-training command on two PyTorch processes: one run, which a kill of either does not change."""

import os
import signal
import socket
import time

import numpy as np
import pytest
import safetensors.numpy

from forking_commands import ForkingCommands
from repository import REPOSITORY
from running import tree
from tiny_run import arguments, history, weights
from two_processes import finish, printed, wait_for

pytestmark = pytest.mark.slow

# Micro-batches, clipping, a queue that is filled, and validation.
OPTIONS = ["--tasks", "mmlm,xlco", "--set", "model.num_layers=1", "--set", "optimizer.accumulation_steps=2"]
OPTIONS += ["--set", "data.validation_records=4", "--set", "evaluation.every=4", "--set", "save_initial_model=false"]
OPTIONS += ["--set", "evaluation.validation_batches=2", "--set", "optimizer.clip_norm=0.3"]
# Each process draws its own dropout masks.
WITHOUT_DROPOUT = [*OPTIONS, "--set", "model.dropout=0.0"]


@pytest.fixture(scope="module")
def commands():
    environment = {"KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with ForkingCommands(REPOSITORY, QUICK_RUNS="1", **environment) as found:
        yield found


def start_both(commands, root, arguments, more=((), ())):
    """Two processes of one run, without torchrun; they write `process_0.log` and `process_1.log`."""
    with socket.create_server(("localhost", 0)) as server:
        port = str(server.getsockname()[1])
    return [
        commands.start(
            root / f"process_{rank}.log",
            [*arguments, *more[rank]],
            WORLD_SIZE="2",
            RANK=str(rank),
            MASTER_ADDR="localhost",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def runs(commands, inputs, tmp_path_factory):
    """Directory with runs: on `one` process, on `two` by torchrun; `whole`, and `killed`, one of two killed."""
    root = tmp_path_factory.mktemp("torch_processes")
    for name, processes in (("one", 0), ("two", 2)):
        options = arguments(inputs, root / name, *WITHOUT_DROPOUT)
        process = commands.start(root / f"{name}.log", options, processes)
        assert commands.wait(process) == 0, (root / f"{name}.log").read_text()[-3000:]
    for name in ("whole", "killed"):
        (root / name).mkdir()
    whole = root / "whole"
    finish(commands, whole, start_both(commands, whole, arguments(inputs, whole / "run", *OPTIONS)))

    killed = root / "killed"
    command = arguments(inputs, killed / "run", *OPTIONS)
    processes = start_both(commands, killed, command)
    wait_for(killed / "run" / "checkpoints" / "step-00000003", killed)
    os.kill(processes[1], signal.SIGKILL)
    begin = time.monotonic()
    code = commands.wait(processes[0])
    seconds = time.monotonic() - begin
    assert commands.wait(processes[1]) == -signal.SIGKILL
    (killed / "after_kill.txt").write_text(f"{code}\n{seconds}\n{printed(killed, 0)}")
    finish(commands, killed, start_both(commands, killed, command))
    return root


def test_the_same_losses_and_weights_as_on_one_process(runs):
    expected, actual = history(runs / "one"), history(runs / "two")
    assert [row["step"] for row in actual] == [row["step"] for row in expected] == ["0", "2", "4", "6", "8"]
    assert any(float(row["gradient_norm"]) > 0.3 for row in expected if row["gradient_norm"])
    for row, other in zip(actual, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert value == other[name] or float(value) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-4), name
    for one, other in zip(weights(runs / "two"), weights(runs / "one"), strict=True):
        assert np.abs(one - other).max() < 1e-3


def test_only_the_first_process_writes(runs):
    log = (runs / "two.log").read_text().replace(" ", "")
    assert "worker=0of0..1" in log and "worker=1of0..1" in log and "strategy=multiworker" in log
    assert log.count("preset:") == 1
    assert len(list((runs / "two" / "tensorboard").iterdir())) == 1
    assert not [name for name in tree(runs / "two") if "partial" in name]


def test_a_kill_of_one_process_changes_no_bit(runs):
    code, seconds, log = (runs / "killed" / "after_kill.txt").read_text().split("\n", 2)
    # The other one ends at once, with one line.
    assert code == "2" and float(seconds) < 60, log
    assert log.splitlines()[-1].startswith("error: another process of the run has ended or cannot be reached")
    assert "resuming at step" in printed(runs / "killed", 0)
    paths = [
        runs / name / "run" / "checkpoints" / "step-00000008" / "state.safetensors" for name in ("whole", "killed")
    ]
    whole, resumed = map(safetensors.numpy.load_file, paths)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert value.tobytes() == resumed[name].tobytes(), name
    assert history(runs / "killed" / "run") == history(runs / "whole" / "run")


def test_a_stop_signal_to_one_process_stops_both(commands, inputs, tmp_path):
    command = arguments(inputs, tmp_path / "run", *OPTIONS, "--steps", 2000, "--set", "evaluation.every=100000")
    processes = start_both(commands, tmp_path, command)
    wait_for(tmp_path / "run" / "checkpoints" / "step-00000003", tmp_path)
    os.kill(processes[1], signal.SIGTERM)
    finish(commands, tmp_path, processes)
    assert "stopped by a signal to another worker at step" in printed(tmp_path, 0)
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert int(saved.removeprefix("step-")) % 10 == 0 and saved != "step-00002000"


def test_a_process_that_ends_with_an_error_ends_the_other(commands, inputs, tmp_path):
    """Its records are missing. Both end in bounded time, each with one line."""
    command = arguments(inputs, tmp_path / "run", *OPTIONS)
    processes = start_both(commands, tmp_path, command, ((), ("--data_dir", tmp_path / "nothing")))
    assert [commands.wait(process) for process in processes] == [2, 2]
    assert printed(tmp_path, 0).splitlines()[-1].startswith("error: another process of the run has ended")
    assert "nothing" in printed(tmp_path, 1).splitlines()[-1]


def test_processes_that_were_started_differently(commands, inputs, tmp_path):
    more = ((), ("--set", "optimizer.learning_rate=0.5"))
    processes = start_both(commands, tmp_path, arguments(inputs, tmp_path / "run", *OPTIONS), more)
    assert [commands.wait(process) for process in processes] == [2, 2]
    for index in range(2):
        text = printed(tmp_path, index)
        assert text.startswith(
            "error: the processes do not agree on optimizer.learning_rate: 0.01 (process 0), 0.5 (process 1)"
        )
        assert text.count("\n") == 1
    assert not (tmp_path / "run").exists()
