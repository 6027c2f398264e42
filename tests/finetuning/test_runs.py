"""Fine-tuning runs: exact resume, equal updates however a batch is cut, several seeds, early ends, LoRA."""

import json
import os
import shutil
import signal
import sys

import numpy as np
import pytest

from infoxlm_keras.commands import finetune, finetune_classification
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning import (
    ClassificationHead,
    ClassificationSettings,
    FineTuningRun,
    LabelledTexts,
    load_text_classifier,
)
from infoxlm_keras.finetuning.development_scores import DevelopmentScores
from infoxlm_keras.finetuning.loop import log_interval
from infoxlm_keras.finetuning.run_output import FineTuningOutput
from infoxlm_keras.finetuning.sample_batches import SampleBatches
from infoxlm_keras.finetuning.trials import Trial, chosen_learning_rate, in_short, mean_and_deviation, summary
from infoxlm_keras.pretrained import load_pretrained, save_pretrained
from quick_runs import quick_graphs
from repository import REPOSITORY
from running import refused, run, tree
from sample_text import sentences

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture(scope="module")
def quickly():
    with quick_graphs():
        yield


def parts(count=11, languages=("en",), start=0):
    found = []
    for language in languages:
        texts = sentences(language, count, start)
        seconds = ["door open" if number % 2 else "river river" for number in range(count)]
        labels = [("a", "b")[number % 2] for number in range(count)]
        found.append(LabelledTexts(language, [texts, seconds], labels, files=[language]))
    return found


def settings(**changed):
    fixed = {"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "max_length": 16, "jit_compile": False}
    return ClassificationSettings(**{**fixed, **changed})


def weights_of(preset, directory, development=(), training=None, **changed):
    """(weights after the run, its result)."""
    head = ClassificationHead(training or parts(), list(development), [] if development else parts(4, start=50))
    run = FineTuningRun(
        head, lambda: load_pretrained(preset, dtype=changed.get("dtype")), settings(**changed), directory
    )
    run.train()
    result = run.finish()
    return head.model.get_weights(), result


# === What does not change the result ===


@pytest.fixture(scope="module")
def plain(tiny_preset, tmp_path_factory):
    return weights_of(tiny_preset, tmp_path_factory.mktemp("plain") / "run", dropout=0.0)[0]


def test_micro_batches_give_the_same_update(tiny_preset, plain, tmp_path):
    found = weights_of(tiny_preset, tmp_path / "run", dropout=0.0, accumulation_steps=2)[0]
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)


def test_two_replicas_of_two_micro_batches_give_the_same_update(tiny_preset, plain, forked_python, tmp_path):
    """The last batch of an epoch has three samples, and a row that counts for nothing."""
    code = (
        "import numpy as np, sys\n"
        "sys.path[:0] = ['tests/finetuning', 'tests/support']\n"
        "from infoxlm_keras.distribution.strategies import choose_distribution\n"
        "import test_runs\n"
        "with choose_distribution('mirrored', replicas=2).scope():\n"
        "    found, _ = test_runs.weights_of(sys.argv[1], sys.argv[2], dropout=0.0, accumulation_steps=2)\n"
        "np.savez(sys.argv[2] + '/weights.npz', *found)\n"
    )
    done = python(forked_python, code, tiny_preset, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "run/weights.npz") as arrays:
        for one, name in zip(plain, arrays, strict=True):
            np.testing.assert_allclose(one, arrays[name], rtol=0, atol=2e-6)


def test_half_precision_is_near(tiny_preset, plain, tmp_path):
    found = weights_of(tiny_preset, tmp_path / "run", dropout=0.0, dtype="mixed_bfloat16")[0]
    assert all(one.dtype == np.float32 for one in found)
    assert max(np.abs(one - other).max() for one, other in zip(plain, found, strict=True)) < 0.1


# === Resume ===

# Kills the process before or after a checkpoint is written, or after training, as sys.argv says.
KILLED = """
import os, signal, sys
sys.path[:0] = ['tests/finetuning', 'tests/support']
import test_runs
from infoxlm_keras.runs.callbacks import Checkpoints

place, update = sys.argv[3].split(':')
original_save, original_fit = Checkpoints.save, test_runs.FineTuningRun._fit

def kill_at(here, step):
    if (place, int(update)) == (here, step):
        os.kill(os.getpid(), signal.SIGKILL)

def save(self):
    kill_at('saving', self.step)
    original_save(self)
    kill_at('saved', self.step)

def fit(self, *arguments):
    found = original_fit(self, *arguments)
    kill_at('trained', 0)
    return found

Checkpoints.save, test_runs.FineTuningRun._fit = save, fit
test_runs.resumed(sys.argv[1], sys.argv[2])
"""


def resumed(preset, directory):
    """The run that is killed: with dropout, development data and a checkpoint every second update."""
    return weights_of(
        preset, directory, parts(6, ("en", "de"), 30), epochs=3, save_every=2, evaluate_every=2, dropout=0.1
    )


def python(forked_python, code, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "KERAS_BACKEND": "tensorflow"}
    return forked_python.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_run_ends_with_the_same_bits(tiny_preset, forked_python, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = python(forked_python, KILLED, tiny_preset, whole, "never:0")
    assert done.returncode == 0, done.stderr
    for place in ("saving:2", "saved:4", "trained:0"):
        done = python(forked_python, KILLED, tiny_preset, broken, place)
        assert done.returncode == -signal.SIGKILL, (place, done.stderr)
        assert not (broken / "result.json").exists()
    done = python(forked_python, KILLED, tiny_preset, broken, "never:0")
    assert done.returncode == 0, done.stderr
    one, other = tree(whole), tree(broken)
    different = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    # TensorBoard's files have times in their names, history.csv has speeds; Keras' metadata has the time of saving.
    assert not [name for name in different if not name.startswith(("tensorboard", "history.csv", "model/metadata"))]
    assert "model/task.weights.h5" in one


def test_a_signal_stops_the_run_and_the_same_command_continues_it(tiny_preset, tmp_path, monkeypatch, capsys):
    texts = tmp_path / "train.en.tsv"
    rows = [f"{'ab'[number % 2]}\t{text}" for number, text in enumerate(sentences("en", 12))]
    texts.write_text("\n".join(["label\ttext", *rows]) + "\n")
    shutil.copy(texts, test := tmp_path / "test.en.tsv")
    command = ["--model", tiny_preset, "--train", texts, "--test", test, "--output_dir", tmp_path / "run"]
    command += ["--epochs", 2, "--batch_size", 4, "--max_length", 16, "--no-jit_compile"]
    batch = SampleBatches.batch

    def stopping(batches, update):
        if update == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(batches, update)

    with monkeypatch.context() as patch:
        patch.setattr(SampleBatches, "batch", stopping)
        run(finetune_classification.main, *command)
    printed = capsys.readouterr().out
    assert "stopped by SIGTERM at update" in printed and "to continue, repeat the command" in printed
    assert not (tmp_path / "run/results.json").exists()
    changed = refused(capsys, finetune_classification.main, *command, "--dropout", 0.2)
    assert "holds an unfinished run of another kind: dropout was 0.1 and is 0.2" in changed
    with open(texts, "a", encoding="utf-8") as file:
        file.write("a\tone more\n")
    assert "the training samples were others" in refused(capsys, finetune_classification.main, *command)
    texts.write_text("\n".join(["label\ttext", *rows]) + "\n")
    run(finetune_classification.main, *command)
    assert "resuming at update" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/results.json").read_text())["update"] == 6
    assert os.listdir(tmp_path / "run/runs") == ["lr-2e-05_seed-0"]
    assert "holds a trained model already" in refused(capsys, finetune_classification.main, *command)


def test_neither_another_model_nor_other_data_takes_over_what_is_there(tiny_preset, tmp_path, monkeypatch, capsys):
    """A complete run of a grid that was interrupted, and the same command with what differs."""
    files = {}
    for name, start in (("train", 0), ("dev", 30), ("test", 60)):
        files[name] = tmp_path / f"{name}.en.tsv"
        rows = [f"{'ab'[number % 2]}\t{text}" for number, text in enumerate(sentences("en", 8, start))]
        files[name].write_text("\n".join(["label\ttext", *rows]) + "\n")
    command = ["--output_dir", tmp_path / "run", "--epochs", 1, "--max_length", 16, "--seed", 0, 1]
    command += [part for name, path in files.items() for part in (f"--{name}", path)]
    monkeypatch.setattr(FineTuningRun, "_fit", lambda run, start, restored: (None, run.updates))
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "finish", stop)
        with pytest.raises(Stop):
            finetune_classification.main([str(option) for option in ["--model", tiny_preset, *command]])
    assert len(list((tmp_path / "run/runs").glob("*/result.json"))) == 2
    other = load_pretrained(tiny_preset)
    other.backbone.set_weights([weight + 1 for weight in other.backbone.get_weights()])
    save_pretrained(tmp_path / "other", other.masked_lm, other.tokenizer, other.info)
    error = refused(capsys, finetune_classification.main, "--model", tmp_path / "other", *command)
    assert "holds a run of another kind: the model was another;" in error
    for name, said in (("train", "training"), ("dev", "development"), ("test", "test")):
        before = files[name].read_text()
        files[name].write_text(before + "a\tone more\n")
        error = refused(capsys, finetune_classification.main, "--model", tiny_preset, *command)
        assert f"holds a run of another kind: the {said} samples were others;" in error
        files[name].write_text(before)
    # The same samples in another file are the same.
    moved = files["test"].rename(tmp_path / "moved.en.tsv")
    run(finetune_classification.main, "--model", tiny_preset, *[moved if o == files["test"] else o for o in command])


class Stop(Exception):
    """Ends a command before its results are written."""


def stop(*_):
    raise Stop


# === Several runs ===


def test_a_grid_of_learning_rates_and_seeds(tiny_preset, tmp_path, capsys):
    files = {}
    for name, start in (("train", 0), ("dev", 30)):
        files[name] = tmp_path / f"{name}.en.tsv"
        rows = [f"{'ab'[number % 2]}\t{text}" for number, text in enumerate(sentences("en", 8, start))]
        files[name].write_text("\n".join(["label\ttext", *rows]) + "\n")
    output = tmp_path / "run"
    command = ["--model", tiny_preset, "--train", files["train"], "--dev", files["dev"], "--output_dir", output]
    command += ["--epochs", 1, "--batch_size", 8, "--max_length", 16, "--no-jit_compile"]
    assert "2 are given, and --dev" in refused(
        capsys,
        finetune_classification.main,
        *[option if option != "--dev" else "--test" for option in command],
        "--learning_rate",
        0.1,
        0.2,
    )
    twice = refused(capsys, finetune_classification.main, *command, "--seed", 3, 3)
    assert "--seed: 3 is given twice" in twice
    run(finetune_classification.main, *command, "--learning_rate", 0.001, 0.1, "--seed", 0, 1)
    results = json.loads((output / "results.json").read_text())
    assert [(one["learning_rate"], one["seed"]) for one in results["runs"]] == [
        (0.001, 0),
        (0.001, 1),
        (0.1, 0),
        (0.1, 1),
    ]
    rates = {row["learning_rate"]: row["development_mean"] for row in results["summary"]}
    means = {
        rate: [one["development_mean"] for one in results["runs"] if one["learning_rate"] == rate] for rate in rates
    }
    for rate, found in rates.items():
        assert found == {"mean": pytest.approx(np.mean(means[rate])), "sd": pytest.approx(np.std(means[rate], ddof=1))}
    assert results["settings"]["learning_rate"] == max(rates, key=lambda rate: rates[rate]["mean"])
    assert results["mean"] == max(means[results["settings"]["learning_rate"]])
    printed = capsys.readouterr().out
    assert "run 4 of 4: learning rate 0.1, seed 1" in printed and " ± " in printed
    assert load_text_classifier(output / "model").labels == ["a", "b"]
    assert not list(output.glob("runs/*/model")) and not list(output.glob("runs/*/checkpoints"))


def test_a_model_is_not_taken_for_that_of_another_run(tmp_path):
    """A command that ended after its model was in its place, and another one that chooses another run."""
    output = FineTuningOutput(tmp_path, ClassificationHead)
    trials = [Trial(tmp_path / "runs" / name, {}) for name in ("seed-0", "seed-1")]
    for trial in trials:
        (trial.directory / "model").mkdir(parents=True)
        (trial.directory / "model" / "weights").write_text(trial.directory.name)
    for _ in range(2):
        output.keep(trials[1], trials)
        assert (tmp_path / "model" / "weights").read_text() == "seed-1"
    with pytest.raises(InputError, match="seed-0/model: the model of a complete run is gone"):
        output.keep(trials[0], trials[:1])


def test_learning_rates_that_differ_late_have_folders_of_their_own():
    assert [in_short(rate) for rate in (1e-5, 0.1, 1.0000001e-5)] == ["1e-05", "0.1", "1.0000001e-05"]


def test_the_summary_of_trials():
    def trial(rate, seed, development, en, de):
        result = {"settings": {"learning_rate": rate, "seed": seed}, "development_mean": development}
        return Trial(None, {**result, "scores": {"f1": {"en": en, "de": de}}})

    trials = [trial(1e-5, 0, 0.9, 0.5, 0.3), trial(1e-5, 1, 0.1, 0.7, 0.5), trial(2e-5, 0, 0.6, 0.1, 0.1)]
    assert chosen_learning_rate(trials) == 2e-5
    first, second = summary(trials)
    assert first["seeds"] == [0, 1] and first["scores"]["f1"]["de"] == mean_and_deviation([0.3, 0.5])
    assert first["mean"]["f1"] == {"mean": pytest.approx(0.5), "sd": pytest.approx(0.2 / 2**0.5)}
    assert second["mean"]["f1"] == {"mean": pytest.approx(0.1), "sd": None}


# === Development scores, LoRA, batches ===


def test_patience_ends_a_run_and_the_best_update_is_kept(tiny_preset, tmp_path, monkeypatch):
    scores = iter([0.2, 0.8, 0.5, 0.6, 0.9])
    monkeypatch.setattr(ClassificationHead, "measure", lambda *_: {"accuracy": {"en": next(scores, 0.0)}})
    _, result = weights_of(
        tiny_preset, tmp_path / "run", parts(4, start=30), epochs=20, evaluate_every=2, patience=2, save_every=100
    )
    assert [record["update"] for record in result["evaluations"]] == [2, 4, 6, 8]
    assert (result["update"], result["development_mean"], result["updates"]) == (4, 0.8, 8)


def test_exhausted_patience_is_known_after_a_restart(tmp_path):
    path = tmp_path / "development.json"
    path.write_text(json.dumps([{"update": n, "development_mean": mean} for n, mean in enumerate([0.1, 0.9, 0.8])]))
    for patience, exhausted in ((1, True), (2, False), (None, False)):
        assert DevelopmentScores(None, None, 2, 9, 1, 9, 1, path, patience).exhausted == exhausted
    assert not DevelopmentScores(None, None, 1, 9, 1, 9, 1, path, 1).exhausted


def test_lora_trains_few_weights_and_the_saved_model_has_none_of_its_own(tiny_preset, tmp_path):
    before = {weight.path: np.array(weight) for weight in load_pretrained(tiny_preset).backbone.weights}
    head = ClassificationHead(parts(), [], test := parts(6, start=60))
    run = FineTuningRun(head, lambda: load_pretrained(tiny_preset), settings(lora_rank=2), tmp_path / "run")
    names = {variable.name for variable in run.trainer.trainable_variables}
    assert names == {"lora_kernel_a", "lora_kernel_b", "kernel", "bias"}
    run.train()
    logits = head.predict(head.classifier.inputs(test[0].texts), 4)
    result = run.finish()
    classifier = load_text_classifier(tmp_path / "run/model")
    assert not [weight for weight in classifier.model.weights if "lora" in weight.name]
    found = classifier.model.predict(classifier.inputs(test[0].texts), verbose=0)
    np.testing.assert_allclose(found, logits, rtol=0, atol=1e-5)
    assert classifier.accuracies(test) == result["scores"]["accuracy"]
    after = {weight.path: np.array(weight) for weight in classifier.model.backbone.weights}
    changed = {path for path, value in before.items() if not np.array_equal(value, after[path])}
    # KerasHub trains the biases of these layers too.
    assert {path.split("/")[-2] for path in changed} == {"query", "value"} and len(changed) == 8


def test_settings_that_cannot_work_are_told_before_files_are_read(tiny_preset, tmp_path, capsys):
    command = ["--model", tiny_preset, "--train", "missing.tsv", "--test", "too.tsv", "--output_dir", tmp_path / "run"]
    error = refused(capsys, finetune_classification.main, *command, "--accumulation_steps", 3, "--batch_size", 16)
    assert "batch_size = 16: cannot be divided among 3" in error
    head = ClassificationHead(parts(2))
    with pytest.raises(InputError, match="lora_rank = 9: is more than the encoder's width 8"):
        head.build(load_pretrained(tiny_preset), settings(lora_rank=9))


def test_every_epoch_holds_each_sample_once_in_an_order_of_its_own():
    arrays = {"token_ids": np.arange(11)[:, None], "weights": np.ones(11, np.float32)}
    batches = SampleBatches(arrays, 4, epochs=3, seed=5, parts=2)
    assert (batches.updates_per_epoch, batches.updates) == (3, 9)
    epochs = []
    for epoch in range(3):
        rows = [batches.batch(epoch * 3 + place)["head"] for place in range(3)]
        kept = [row["token_ids"][row["weights"] > 0, 0] for row in rows]
        assert all(row["token_ids"].shape == (4, 1) for row in rows)
        epochs.append(np.concatenate(kept).tolist())
        assert sorted(epochs[-1]) == list(range(11))
    assert epochs[0] != epochs[1] != epochs[2]
    again = [batch["head"]["token_ids"].tolist() for (batch,) in batches.batches(4)]
    assert again == [batches.batch(update)["head"]["token_ids"].tolist() for update in range(4, 9)]
    assert (arrays["weights"] == 1).all()


@pytest.mark.parametrize(
    ("every", "expected"), [(1, 1), (7, 7), (50, 50), (100, 50), (120, 40), (53, 53), (12272, 26)]
)
def test_each_measure_has_a_loss_of_its_own_interval(every, expected):
    assert log_interval(every) == expected and every % expected == 0
