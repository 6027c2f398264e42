"""The pre-training command on two JAX processes: one run, which a kill of either does not change.

And on two devices of one process that each hold a part of the weights.
"""

import os
import shutil
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

# Dropout, micro-batches, a queue that is filled, validation and retrieval, which measure averages of the weights.
OPTIONS = ["--tasks", "mmlm,xlco", "--set", "model.num_layers=1", "--set", "optimizer.accumulation_steps=2"]
OPTIONS += ["--set", "data.validation_records=4", "--set", "evaluation.every=4", "--set", "save_initial_model=false"]
OPTIONS += ["--set", "evaluation.validation_batches=2"]
OPTIONS += ["--set", "optimizer.name=schedule_free", "--set", "optimizer.schedule=constant"]
# As in the shipped configurations; also, one program compiles faster than each of its operations.
OPTIONS += ["--set", "jit_compile=true"]


def free_address():
    with socket.create_server(("localhost", 0)) as server:
        return f"localhost:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def commands():
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with ForkingCommands(REPOSITORY, QUICK_RUNS="1", **environment) as found:
        yield found


def start_both(commands, root, arguments, more=((), ())):
    """Two processes of one run; `more` holds each one's own arguments. They write `process_0.log`, `process_1.log`."""
    cluster = ["--strategy", "multiworker", "--coordinator", free_address(), "--processes", 2]
    return [
        commands.start(root / f"process_{index}.log", [*arguments, *cluster, "--process", index, *more[index]])
        for index in range(2)
    ]


@pytest.fixture(scope="module")
def runs(commands, inputs, tmp_path_factory):
    """Directory with a run on `one` process, on `two`, and `killed`: one of two is killed, then both start again."""
    root = tmp_path_factory.mktemp("jax_processes")
    one = commands.start(root / "one.log", arguments(inputs, root / "one", *OPTIONS), XLA_FLAGS=two_devices())
    assert commands.wait(one) == 0, (root / "one.log").read_text()[-3000:]
    for name in ("two", "killed"):
        (root / name).mkdir()
    two = root / "two"
    finish(commands, two, start_both(commands, two, arguments(inputs, two / "run", *OPTIONS)))

    killed = root / "killed"
    command = arguments(inputs, killed / "run", *OPTIONS)
    processes = start_both(commands, killed, command)
    wait_for(killed / "run" / "checkpoints" / "step-00000003", killed)
    os.kill(processes[1], signal.SIGKILL)
    begin = time.monotonic()
    code = commands.wait(processes[0])
    assert time.monotonic() - begin < 150
    assert commands.wait(processes[1]) == -signal.SIGKILL
    (killed / "after_kill.txt").write_text(f"{code}\n{printed(killed, 0)}")
    finish(commands, killed, start_both(commands, killed, command))
    return root


def two_devices():
    return f"--xla_force_host_platform_device_count=2 {os.environ['XLA_FLAGS']}"


def state(directory):
    return safetensors.numpy.load_file(directory / "checkpoints" / "step-00000008" / "state.safetensors")


def test_the_same_losses_and_weights_as_on_one_process(runs):
    """That has two devices, which draw the same dropout masks as two processes."""
    expected, actual = history(runs / "one"), history(runs / "two" / "run")
    assert [row["step"] for row in actual] == [row["step"] for row in expected] == ["0", "2", "4", "6", "8"]
    for row, other in zip(actual, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert value == other[name] or float(value) == pytest.approx(float(other[name]), rel=1e-3), name
    for one, other in zip(weights(runs / "two" / "run"), weights(runs / "one"), strict=True):
        assert np.abs(one - other).max() < 1e-3


def test_a_kill_of_one_process_changes_no_bit(runs):
    code, log = (runs / "killed" / "after_kill.txt").read_text().split("\n", 1)
    # The other one ends as well; a whole run would have ended with 0.
    assert int(code) != 0, log
    assert "resuming at step" in printed(runs / "killed", 0)
    whole, resumed = state(runs / "two" / "run"), state(runs / "killed" / "run")
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert value.tobytes() == resumed[name].tobytes(), name
    assert history(runs / "killed" / "run") == history(runs / "two" / "run")


@pytest.fixture(scope="module")
def run_on_two_devices(commands, inputs, runs):
    """A function that makes or continues the run `name` below `runs`, with retrieval."""

    def start(name, *more):
        line = [*arguments(inputs, runs / name, *OPTIONS), "--set", f"evaluation.pairs={inputs / 'heldout'}", *more]
        process = commands.start(runs / f"{name}.log", line, XLA_FLAGS=two_devices())
        assert commands.wait(process) == 0, (runs / f"{name}.log").read_text()[-3000:]
        return runs / name

    return start


def test_a_run_whose_weights_are_cut_over_the_devices(runs, run_on_two_devices):
    """The same losses, validation included, and the same bits after a resume; layers are computed again."""
    command = ["fsdp", "--strategy", "fsdp", "--set", "model.rematerialize=layers"]
    directory = run_on_two_devices(*command)
    for row, other in zip(history(directory), history(runs / "one"), strict=True):
        for name in other:
            assert row[name] == other[name] or float(row[name]) == pytest.approx(float(other[name]), rel=1e-3), name
    assert any(row["retrieval_accuracy"] for row in history(directory))
    whole, rows = state(directory), history(directory)
    shutil.rmtree(directory / "checkpoints" / "step-00000008")
    resumed = state(run_on_two_devices(*command))
    assert whole.keys() == resumed.keys() and history(directory) == rows
    for name, value in whole.items():
        assert value.tobytes() == resumed[name].tobytes(), name


def test_a_run_under_model_parallel(runs, run_on_two_devices):
    """Other dropout masks, so the losses are near and not equal."""
    last, other = (
        history(run)[-1] for run in (run_on_two_devices("parts", "--strategy", "model_parallel"), runs / "one")
    )
    assert last["step"] == "8" and float(last["mmlm_loss"]) == pytest.approx(float(other["mmlm_loss"]), rel=0.1)


def test_only_the_first_process_writes(runs):
    chief, other = (printed(runs / "two", index) for index in range(2))
    assert "worker=0of0..1" in chief.replace(" ", "") and "worker=1of0..1" in other.replace(" ", "")
    assert "replicas=2" in chief.replace(" ", "")
    assert "preset: " in chief and "preset: " not in other
    assert len(list((runs / "two" / "run" / "tensorboard").iterdir())) == 1
    assert not [name for name in tree(runs / "two") if "partial" in name]


def test_a_stop_signal_to_one_process_stops_both(commands, inputs, tmp_path):
    command = arguments(inputs, tmp_path / "run", *OPTIONS, "--steps", 2000, "--set", "evaluation.every=100000")
    processes = start_both(commands, tmp_path, command)
    wait_for(tmp_path / "run" / "checkpoints", tmp_path)
    os.kill(processes[1], signal.SIGTERM)
    finish(commands, tmp_path, processes)
    assert "stopped by a signal to another worker at step" in printed(tmp_path, 0)
    saved = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())[-1]
    assert int(saved.removeprefix("step-")) % 10 == 0 and saved != "step-00002000"


def test_processes_that_were_started_differently(commands, inputs, tmp_path):
    more = ((), ("--set", "optimizer.learning_rate=0.5"))
    processes = start_both(commands, tmp_path, arguments(inputs, tmp_path / "run", *OPTIONS), more)
    assert [commands.wait(process) for process in processes] == [2, 2]
    for index in range(2):
        text = printed(tmp_path, index)
        assert (
            "error: the processes do not agree on optimizer.learning_rate: 0.01 (process 0), 0.5 (process 1)" in text
        )
        assert text.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_processes_that_see_different_checkpoints(commands, inputs, runs, tmp_path):
    """As with an --output_dir on each machine's own disk."""
    processes = start_both(
        commands,
        tmp_path,
        arguments(inputs, runs / "two" / "run", *OPTIONS, "--steps", 9),
        ((), ("--output_dir", tmp_path / "other")),
    )
    assert [commands.wait(process) for process in processes] == [2, 2]
    for index in range(2):
        last = printed(tmp_path, index).splitlines()[-1]
        assert last.startswith(
            "error: the workers do not agree on the step to resume at; all of them must see the same "
        )
        assert last.endswith("--output_dir: 0, 8")


def test_a_process_that_ends_with_an_error_ends_the_other(commands, inputs, tmp_path):
    """Its records are missing. Both end in bounded time, each with one line."""
    processes = start_both(
        commands, tmp_path, arguments(inputs, tmp_path / "run", *OPTIONS), ((), ("--data_dir", tmp_path / "nothing"))
    )
    first, second = (commands.wait(process) for process in processes)
    assert first != 0 and second == 2
    assert "nothing" in printed(tmp_path, 1).splitlines()[-1]
