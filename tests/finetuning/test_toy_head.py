"""A fine-tuning head of one file and one row is found in the command line, trained, saved and measured."""

import json

import numpy as np
import pytest

from infoxlm_keras.finetuning.registry import FINETUNING_HEADS, head_class
from sample_text import sentences
from toy_rows import run_with_row, write_modules


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    return write_modules(tmp_path_factory.mktemp("modules"))


@pytest.fixture(scope="module")
def finished(forked_python, modules, tiny_preset, tmp_path_factory):
    """(directory of a run, what it printed)."""
    root = tmp_path_factory.mktemp("toy")
    for language, lines in (("en", sentences("en", 40)), ("de", sentences("de", 12)), ("ru", sentences("ru", 8))):
        (root / f"{language}.txt").write_text("\n".join([*lines, "", lines[0]]) + "\n")
    options = ["--model", tiny_preset, "--train", root / "en.txt", "--dev", root / "de.txt", "--test", root / "ru.txt"]
    options += ["--output_dir", root / "run", "--epochs", 2, "--batch_size", 8, "--learning_rate", 0.01, "--unit", 2]
    options += ["--no-jit_compile"]
    done = run_with_row(forked_python, modules, "head", "finetune-word-count", *options)
    assert done.returncode == 0, done.stderr
    return root / "run", done.stdout


def test_the_command_line_has_its_command(forked_python, modules):
    done = run_with_row(forked_python, modules, "head", "--help")
    assert "finetune-word-count" in done.stdout and "count the words of texts" in done.stdout
    helped = run_with_row(forked_python, modules, "head", "finetune-word-count", "--help")
    assert helped.returncode == 0, helped.stderr
    assert helped.stdout.startswith("usage: infoxlm finetune-word-count ")
    words = " ".join(helped.stdout.split())
    assert "Counts the words of texts." in words and "words of one unit (default: 1.0)" in words
    assert "texts, one a line whose closeness is reported" in words


def test_its_scores_settings_and_facts_are_in_the_results(finished):
    results = json.loads((finished[0] / "results.json").read_text())
    assert results["settings"]["unit"] == 2.0 and results["settings"]["epochs"] == 2
    assert results["longest"] == max(len(text.split()) for text in sentences("en", 40))
    assert results["training"] == {"en": 41} and results["samples"] == {"ru": 9}
    assert results["closeness"]["ru"] == pytest.approx(1 / (1 + results["error"]["ru"]))
    assert results["mean"] == results["closeness"]["ru"] and results["measured_on"] == "test"
    assert [sum(reasons.values()) for reasons in results["left_out"]["training"].values()] == [1]
    measures = results["evaluations"]
    assert [(measure["update"], measure["epoch"]) for measure in measures] == [(6, 1), (12, 2)]
    assert set(measures[0]) == {"update", "epoch", "loss", "accuracy", "development", "development_mean"}


def test_the_console_has_its_notes_losses_and_table(finished):
    out = finished[1]
    assert "note: words are what white space separates" in out and "1 with no text" in out
    assert "Closeness in %, test" in out and "longest" in out
    shown = [line for line in out.splitlines() if line.startswith("step 12/12")]
    assert "  loss " in shown[0] and "  accuracy " in shown[0] and "  development " in shown[1]


def test_the_model_is_saved_and_its_score_is_drawn(finished):
    assert {path.name for path in finished[0].iterdir()} == {"model", "results.json", "closeness.png", "runs"}
    assert [path.name for path in (finished[0] / "model").iterdir()] == ["count.weights.h5"]


@pytest.mark.parametrize("name", FINETUNING_HEADS)
def test_a_row_and_its_class_agree(name):
    kind = head_class(name)
    assert kind.name == name and kind.description and kind.samples and FINETUNING_HEADS[name].summary
    assert np.isfinite(kind.Settings().learning_rate)
