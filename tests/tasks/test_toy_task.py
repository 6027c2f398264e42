"""A task in one file of another package is trained, logged, drawn and saved without a change here."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest

from infoxlm_keras.reports.skipped_samples import describe_samples
from infoxlm_keras.runs.sample_record import samples_of_steps
from repository import REPOSITORY
from tiny_run import arguments
from toy_task import write_package

STEPS = 4
OPTIONS = ["--tasks", "mmlm,upper_half", "--steps", STEPS, "--set", "upper_half.length=5", "--strategy", "one"]


def run_with(package, *command):
    path = os.pathsep.join(map(str, (package, REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": path, "KERAS_BACKEND": "tensorflow", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    directory = tmp_path_factory.mktemp("package")
    write_package(directory)
    return directory


@pytest.fixture(scope="module")
def toy_run(package, inputs, tmp_path_factory):
    """(directory of a run with the task, what it printed)."""
    directory = tmp_path_factory.mktemp("toy") / "run"
    done = run_with(package, "-m", "infoxlm_keras", "pretrain", *arguments(inputs, directory, *OPTIONS))
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


def test_its_numbers_are_in_the_history(toy_run):
    with open(toy_run[0] / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [2, 4]
    for row in rows:
        assert 0.5 <= float(row["upper_half_certainty"]) <= 1 and 0 <= float(row["upper_half_accuracy"]) <= 1
        bound = np.log(2) - float(row["upper_half_loss"])
        assert float(row["upper_half_mi_lower_bound"]) == pytest.approx(bound, abs=1e-5)
        # Its state of its own, at the end of the interval.
        assert float(row["upper_half_updates"]) == int(row["step"])


def test_the_console_line_the_settings_and_the_result_table_name_it(toy_run):
    lines = toy_run[1].splitlines()
    (line,) = (line for line in lines if line.startswith(f"step {STEPS}/{STEPS}"))
    assert "Upper half " in line and "certainty 0." in line and "MMLM " in line
    assert any("upper_half.length" in line and line.endswith("= 5") for line in lines)
    assert any(line.startswith("│ upper_half") for line in lines)


def test_tensorboard_shows_it_in_a_group_of_its_own(toy_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(toy_run[0] / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"upper_half/loss", "upper_half/accuracy", "upper_half/certainty", "upper_half/updates"} <= tags
    assert not any(tag.startswith("run/upper") for tag in tags)


def test_the_overview_draws_its_panel_and_the_curves_its_label(toy_run, package):
    assert (toy_run[0] / "plots" / "run.png").is_file() and (toy_run[0] / "plots" / "training.png").is_file()
    code = (
        "import sys; from infoxlm_keras.reports.plots import read_history, run_overview, training_curves\n"
        "numbers = read_history(sys.argv[1])\n"
        "for axes in run_overview(*numbers).axes:\n"
        "    legend = axes.get_legend()\n"
        "    names = [] if legend is None else [text.get_text() for text in legend.get_texts()]\n"
        "    print(axes.get_title(loc='left'), names)\n"
        "print([text.get_text() for axes in training_curves(*numbers).axes for text in axes.texts])\n"
    )
    done = run_with(package, "-c", code, toy_run[0] / "history.csv")
    assert done.returncode == 0, done.stderr
    assert "Accuracy of the tasks ['MMLM', 'Upper half']" in done.stdout
    assert "Certainty of the toy task" in done.stdout
    assert "'Upper half'" in done.stdout.splitlines()[-1]


def test_the_checkpoint_holds_its_weights_and_its_state(toy_run):
    from safetensors.numpy import load_file

    state = load_file(toy_run[0] / "checkpoints" / f"step-{STEPS:08d}" / "state.safetensors")
    (kernel,) = (value for name, value in state.items() if name.endswith("/toy_kernel"))
    assert kernel.shape == (8, 2) and np.isfinite(kernel).all()
    (updates,) = (value for name, value in state.items() if name.endswith("/toy_updates"))
    assert int(updates) == STEPS


def test_a_stream_without_records_has_numbered_samples():
    class Stream:
        name, batch_size = "own", 4

    samples = samples_of_steps([Stream()], 2, 3)
    assert samples == {"own": [{"length": None, "first_sample": 4, "last_sample": 11, "records": {}}]}
    assert describe_samples(samples) == "own samples 4..11"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("upper_half", "no_such_module:Task", "entry point upper_half = no_such_module:Task: cannot be imported"),
        ("mmlm", "toy_package:UpperHalf", "entry point mmlm = toy_package:UpperHalf: a pretext task has this name"),
        ("other", "toy_package:UpperHalf", "is not a PretextTask with the name other"),
        ("upper_half", "toy_package:UpperHalfStream", "is not a PretextTask with the name upper_half"),
    ],
)
def test_a_broken_entry_point_is_named(tmp_path, monkeypatch, name, value, message):
    from infoxlm_keras.errors import InputError
    from infoxlm_keras.tasks.registry import task_classes

    write_package(tmp_path, name, value)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=message):
        task_classes.__wrapped__()
    sys.modules.pop("toy_package", None)
