"""An evaluation of one file and one row is found in a run, its configuration, its outputs, and the command line."""

import csv
import json

import numpy as np
import pytest

from infoxlm_keras.evaluation.registry import EVALUATIONS, evaluation_classes
from infoxlm_keras.pretrained import load_pretrained
from tiny_run import arguments
from toy_rows import run_with_row, write_modules

STEPS, ROWS = 4, 7
OPTIONS = ["--tasks", "mmlm", "--steps", STEPS, "--strategy", "one", "--set", "evaluation.every=3"]


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    return write_modules(tmp_path_factory.mktemp("modules"))


@pytest.fixture(scope="module")
def toy_run(forked_python, modules, inputs, tmp_path_factory):
    """(directory of a run with the evaluation, what it printed)."""
    directory = tmp_path_factory.mktemp("toy") / "run"
    settings = ["--set", f"evaluation.row_length.rows={ROWS}"]
    done = run_with_row(
        forked_python, modules, "evaluation", "pretrain", *arguments(inputs, directory, *OPTIONS, *settings)
    )
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


def mean_length(directory):
    table = load_pretrained(directory).backbone.token_embedding.embeddings
    return float(np.linalg.norm(np.asarray(table)[:ROWS], axis=-1).mean())


def test_its_numbers_are_in_the_history_when_they_are_due(toy_run):
    with open(toy_run[0] / "history.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["row_length_mean"]]
    assert [int(row["step"]) for row in rows] == [0, 3, 4]
    assert float(rows[-1]["row_length_mean"]) == pytest.approx(mean_length(toy_run[0] / "model"), rel=1e-6)
    assert all(float(row["row_length_longest"]) > float(row["row_length_mean"]) for row in rows)


def test_it_chooses_the_best_checkpoint(toy_run):
    best = json.loads((toy_run[0] / "pretraining.json").read_text())["best"]
    assert best["name"] == "row_length_mean" and best["step"] in (3, 4)
    assert best["value"] == pytest.approx(mean_length(toy_run[0] / "best_model"), rel=1e-6)


def test_the_console_line_and_the_settings_name_it(toy_run):
    lines = toy_run[1].splitlines()
    assert any(line.startswith("step 3/4") and "row length 0." in line for line in lines)
    assert any("evaluation.row_length.rows" in line and line.endswith(f"= {ROWS}") for line in lines)


def test_tensorboard_shows_it_in_a_group_of_its_own(toy_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(toy_run[0] / "tensorboard"))
    events.Reload()
    assert {"row_length/mean", "row_length/longest"} <= set(events.Tags()["scalars"])


def test_the_overview_draws_its_panel(forked_python, toy_run, modules):
    code = (
        "import sys; from infoxlm_keras.reports.plots import read_history, run_overview\n"
        "for axes in run_overview(*read_history(sys.argv[1])).axes:\n"
        "    legend = axes.get_legend()\n"
        "    print(axes.get_title(loc='left'), [] if legend is None else [text.get_text() for text in legend.texts])\n"
    )
    done = run_with_row(forked_python, modules, "evaluation", toy_run[0] / "history.csv", code=code)
    assert done.returncode == 0, done.stderr
    assert "Length of token vectors ['mean', 'longest']" in done.stdout


def test_the_command_line_has_its_command(forked_python, modules):
    done = run_with_row(forked_python, modules, "evaluation", "--help")
    assert "evaluate-row-length" in done.stdout and "measure token vectors" in done.stdout
    helped = run_with_row(forked_python, modules, "evaluation", "evaluate-row-length", "--help")
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.startswith("usage: infoxlm evaluate-row-length ")
    assert "Measures the length of token vectors." in helped.stdout and "--rows" in helped.stdout
    # It draws no figure.
    assert "--output" in helped.stdout and "--plots" not in helped.stdout


def test_the_command_measures_a_trained_model(forked_python, toy_run, modules, tmp_path):
    output = tmp_path / "found.json"
    options = ["--model", toy_run[0] / "model", "--rows", ROWS, "--output", output]
    done = run_with_row(forked_python, modules, "evaluation", "evaluate-row-length", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert result["mean"] == pytest.approx(mean_length(toy_run[0] / "model"), rel=1e-6)
    assert result["model"]["pretraining"]["steps"] == STEPS
    assert f"mean length {result['mean']:.4f}" in done.stdout and f"wrote {output}" in done.stdout
    bad = run_with_row(
        forked_python, modules, "evaluation", "evaluate-row-length", "--model", toy_run[0] / "model", "--rows", 0
    )
    assert bad.returncode == 2 and bad.stderr == "error: --rows 0: must be at least 1\n"


def test_training_is_bit_identical_with_and_without_it(forked_python, toy_run, modules, inputs, tmp_path):
    plain = tmp_path / "plain"
    done = run_with_row(forked_python, modules, "evaluation", "pretrain", *arguments(inputs, plain, *OPTIONS))
    assert done.returncode == 0, done.stderr
    with_it, without = (load_pretrained(path / "model").masked_lm.get_weights() for path in (toy_run[0], plain))
    for one, other in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_a_row_and_its_class_agree(name):
    kind = evaluation_classes()[name]
    assert kind.name == name and kind.prefix
    assert bool(EVALUATIONS[name].summary) == bool(kind.description)
    assert all(column.startswith(f"{kind.prefix}_") for column in kind.console_numbers)
    # Whether it can run while training, and whether a setting switches it on, is one question.
    assert ("from_config" in vars(kind)) == bool(kind.switched_on_by)
