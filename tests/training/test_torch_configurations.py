"""PyTorch runs every shipped configuration as it is but for sizes, `jit_compile: true` included."""

import json
import os
import subprocess
import sys

import pytest

from infoxlm_keras.commands import pretrain
from infoxlm_keras.config import load_config
from infoxlm_keras.reports.history import SPEEDS, read_rows
from quick_runs import quick_runs
from repository import CONFIGURATIONS, SUPPORT
from running import run

pytestmark = pytest.mark.slow

RECIPES = CONFIGURATIONS
STEPS = 3
NAMES = ("demo", "tiny", "small", "infoxlm_base")
SIZES = {
    "steps": STEPS,
    "log_every": 1,
    "model.num_layers": 1,
    "model.hidden_dim": 16,
    "model.num_heads": 2,
    "model.intermediate_dim": 32,
    "model.max_sequence_length": 64,
    "mmlm.batch_size": 2,
    "tlm.batch_size": 2,
    "xlco.batch_size": 4,
    "xlco.queue_length": 24,
    "xlco.universal_layer": 1,
    "optimizer.warmup_steps": 1,
}
# Held-out records and pairs, which are measured while training.
MEASURED = {"data.validation_records": 4, "evaluation.every": STEPS, "evaluation.validation_batches": 1}


def arguments_of(inputs, name, output_dir, *more, **settings):
    options = ["--config", RECIPES / f"{name}.yaml", "--data_dir", inputs / "data", "--output_dir", output_dir]
    pairs = {"evaluation.pairs": inputs / "heldout"}
    for key, value in {**SIZES, **MEASURED, **pairs, **settings}.items():
        options += ["--set", f"{key}={value}"]
    return [str(option) for option in [*options, *more]]


@pytest.fixture(scope="module")
def runs(inputs, tmp_path_factory):
    """A directory with the output directories `NAME` of PyTorch, `tensorflow` (demo), and `log`."""
    root = tmp_path_factory.mktemp("torch")
    with quick_runs():
        run(pretrain.main, *arguments_of(inputs, "demo", root / "tensorflow", jit_compile=False))
    commands = [arguments_of(inputs, name, root / name) for name in NAMES]
    # From TensorFlow's initial weights.
    commands.append(arguments_of(inputs, "demo", root / "same", "--init", root / "tensorflow" / "initial_model"))
    # A finished run is continued to twice its steps.
    commands.append(arguments_of(inputs, "infoxlm_base", root / "infoxlm_base", steps=2 * STEPS))
    (root / "commands.json").write_text(json.dumps(commands))
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    worker = SUPPORT / "command_worker.py"
    with open(root / "log", "w") as log:
        done = subprocess.run(
            [sys.executable, worker, root / "commands.json"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    assert done.returncode == 0, (root / "log").read_text()[-3000:]
    return root


def test_the_configurations_are_the_shipped_ones(inputs):
    for name in NAMES:
        assert load_config(RECIPES / f"{name}.yaml").jit_compile


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_measures(runs, name):
    rows = read_rows(runs / name / "history.csv")
    last = 2 * STEPS if name == "infoxlm_base" else STEPS
    assert [row["step"] for row in rows] == list(range(last + 1))
    for row in rows[1:]:
        assert all(0 < row[f"{task}_loss"] < 20 for task in ("mmlm", "tlm", "xlco"))
    assert {"val_loss", "retrieval_accuracy"} <= set(rows[0]) & set(rows[-1])
    assert (runs / name / "model" / "config.json").is_file()


def test_one_line_says_that_nothing_is_compiled(runs):
    commands = (runs / "log").read_text().split("command [")[1:]
    assert len(commands) == len(NAMES) + 2
    for printed in commands:
        lines = [line for line in printed.splitlines() if line.startswith("jit_compile: left off")]
        assert len(lines) == 1 and "KERAS_BACKEND=tensorflow or jax" in lines[0]
    assert "Dynamo" not in (runs / "log").read_text()


def test_the_losses_are_tensorflows(runs):
    expected, actual = (read_rows(runs / name / "history.csv") for name in ("tensorflow", "same"))
    for row, other in zip(expected, actual, strict=True):
        assert set(row) == set(other)
        for name in set(row) - set(SPEEDS):
            assert other[name] == pytest.approx(row[name], rel=1e-4, abs=1e-4), (name, row["step"])
