"""Runs that are interrupted: by a kill, a signal, or too many bad batches; all of them lose nothing."""

import contextlib
import dataclasses
import json
import os
import runpy
import shutil
import signal
import sys

import numpy as np
import pytest
import safetensors.numpy

from benchmarks import kill_resume
from forking_commands import ForkingCommands
from infoxlm_keras.commands import pretrain
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.runs.callbacks import StopOnSignal
from infoxlm_keras.runs.directory import PRODUCTS
from infoxlm_keras.runs.pretraining import check_same_data, check_same_start
from opened_files import opened_files
from quick_runs import quick_graphs
from repository import REPOSITORY
from running import refused, run, tree
from tiny_run import arguments, history, weights

# Checkpoints after steps 4 and 8, rows after 3, 6 and 8: a run cut at step 5 has half an interval behind it.
INTERVALS = ["--tasks", "tlm,xlco,dwa,mrtd", "--set", "log_every=3", "--set", "save_every=4"]
INTERVALS += ["--set", "mrtd.batch_size=4"]
INTERVALS += ["--set", "data.validation_records=4", "--set", "evaluation.validation_batches=0"]
# Tracing the layers is most of a run's time, and a second one adds no state of another kind.
INTERVALS += ["--set", "model.num_layers=1"]


@pytest.fixture(scope="module", autouse=True)
def graphs():
    """Of all runs in this process; the processes of the kill benchmark have them as a user has."""
    with quick_graphs():
        yield


class Killed(Exception):
    """Ends a run in the middle as SIGKILL does: no callback hears of it."""


def last_state(directory):
    """The bytes of the last checkpoint: weights, optimizer, key encoder, queue, counters, metrics."""
    return (directory / "checkpoints" / "step-00000008" / "state.safetensors").read_bytes()


@contextlib.contextmanager
def after_step(step, action):
    """`action()` runs at the end of a step."""

    class Watched(StopOnSignal):
        def after_step(self):
            if self.step == step:
                action()
            super().after_step()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infoxlm_keras.runs.fitting.StopOnSignal", Watched)
        yield


@pytest.fixture(scope="module")
def uninterrupted(inputs, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("uninterrupted") / "run"
    run(pretrain.main, *arguments(inputs, output_dir, *INTERVALS))
    return output_dir


def evaluation(inputs):
    """Retrieval and validation losses after steps 0, 2, 4, 6, 8."""
    settings = [f"evaluation.pairs={inputs / 'heldout'}", "evaluation.every=2", "evaluation.validation_batches=2"]
    return [part for setting in settings for part in ("--set", setting)]


def kill():
    raise Killed


@pytest.fixture(scope="module")
def evaluated(inputs, tmp_path_factory):
    """The same run with an evaluation, killed after step 5 and continued; each start opens each manifest once."""
    output_dir = tmp_path_factory.mktemp("evaluated") / "run"
    options = arguments(inputs, output_dir, *INTERVALS, *evaluation(inputs))
    with opened_files("manifest.json") as manifests, after_step(5, kill), pytest.raises(Killed):
        pretrain.main([str(option) for option in options])
    both = [str(inputs / "data" / kind / "manifest.json") for kind in ("bitext", "mmlm")]
    assert sorted(manifests) == both
    assert not (output_dir / "model").exists()
    # What a kill in the middle of writing leaves.
    for name in (".model.partial-1", "checkpoints/.step-00000008.partial-1", "checkpoints/.step-00000008.partial-22"):
        (output_dir / name).mkdir()
    (output_dir / ".history.csv.partial-1").write_text("step,")
    with open(output_dir / "history.csv", "a") as file:
        file.write("6,0.1")
    with opened_files("manifest.json") as manifests:
        run(pretrain.main, *options)
    assert sorted(manifests) == both
    return output_dir


def test_a_killed_run_is_the_run_without_interruption_and_without_evaluation(uninterrupted, evaluated):
    """Weights and the metrics of the interval that the kill cut, to the last bit."""
    assert last_state(evaluated) == last_state(uninterrupted)
    for one, other in zip(weights(evaluated), weights(uninterrupted), strict=True):
        np.testing.assert_array_equal(one, other)
    rows = [{k: v for k, v in row.items() if not k.startswith(("retrieval", "val_"))} for row in history(evaluated)]
    assert [row for row in rows if row["mrtd_loss"]] == history(uninterrupted)
    assert [row["step"] for row in history(uninterrupted)] == ["3", "6", "8"]
    assert [row["step"] for row in rows] == ["0", "2", "3", "4", "6", "8"]
    assert [path for path in evaluated.rglob("*") if ".partial" in path.name] == []


def test_a_stable_run_becomes_longer_from_a_checkpoint_before_its_fall(inputs, tmp_path):
    """As docs/tasks.md says: a copy without the newer checkpoints, and the command with more steps."""
    settings = ["--tasks", "tlm", "--set", "save_every=4", "--set", "model.num_layers=1"]
    settings += ["--set", "optimizer.schedule=stable", "--set", "optimizer.decay_share=0.5"]
    short, longer, whole = (tmp_path / name for name in ("short", "longer", "whole"))
    run(pretrain.main, *arguments(inputs, short, *settings))
    # Both fall over half of their steps: from step 5, and from step 7.
    shutil.copytree(short, longer)
    shutil.rmtree(longer / "checkpoints" / "step-00000008")
    for directory in (longer, whole):
        run(pretrain.main, *arguments(inputs, directory, *settings, "--steps", 12))
    states = [(each / "checkpoints" / "step-00000012" / "state.safetensors").read_bytes() for each in (longer, whole)]
    assert states[0] == states[1] and history(longer) == history(whole)
    rates = [float(row["learning_rate"]) for row in history(longer)]
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.01 * 4 / 6, 0.01 * 2 / 6, 0.0], rtol=1e-5, atol=1e-9)


def test_a_schedule_free_run_becomes_longer_and_saves_its_averages(inputs, tmp_path):
    """More steps continue the run as if it had had them from the start; what is measured and saved are averages."""
    settings = ["--tasks", "tlm", "--set", "save_every=4", "--set", "model.num_layers=1", "--set", "model.dropout=0"]
    settings += ["--set", "optimizer.name=schedule_free", "--set", "optimizer.schedule=constant"]
    settings += ["--set", "data.validation_records=4", "--set", "evaluation.validation_batches=2"]
    settings += ["--set", "evaluation.every=4"]
    longer, whole = tmp_path / "longer", tmp_path / "whole"
    run(pretrain.main, *arguments(inputs, longer, *settings))
    for directory in (longer, whole):
        run(pretrain.main, *arguments(inputs, directory, *settings, "--steps", 12))
    checkpoint = "checkpoints/step-00000012/state.safetensors"
    assert (longer / checkpoint).read_bytes() == (whole / checkpoint).read_bytes()
    for name in ("model", "best_model"):
        for one, other in zip(weights(longer, name), weights(whole, name), strict=True):
            np.testing.assert_array_equal(one, other)
    state = safetensors.numpy.load_file(whole / checkpoint)
    embeddings, *_ = (value for name, value in sorted(state.items()) if name.endswith("/embeddings"))
    (offset,) = (value for name, value in state.items() if "offset" in name and value.shape == embeddings.shape)
    average = embeddings - offset * (1 / 0.9 - 1)
    average[1] = embeddings[1]  # `<pad>`
    saved = load_pretrained(whole / "model").masked_lm
    np.testing.assert_allclose(saved.backbone.token_embedding.embeddings.numpy(), average, rtol=1e-5, atol=1e-6)
    assert np.abs(average - embeddings).max() > 1e-3
    # The run's last measurement is that of the model that it saved.
    again = tmp_path / "again"
    options = [*settings, "--init", whole / "model", "--steps", 12, "--set", "optimizer.warmup_steps=2"]
    run(pretrain.main, *arguments(inputs, again, *options))
    assert float(history(again)[0]["val_tlm_loss"]) == pytest.approx(
        float(history(whole)[-1]["val_tlm_loss"]), rel=1e-5
    )


def test_the_best_checkpoint_by_retrieval_is_kept_and_exported(evaluated):
    accuracies = {
        int(row["step"]): float(row["retrieval_accuracy"]) for row in history(evaluated) if row["retrieval_accuracy"]
    }
    best = json.loads((evaluated / "pretraining.json").read_text())["best"]
    later = {step: accuracy for step, accuracy in accuracies.items() if step > 0}
    assert best == {
        "name": "retrieval_accuracy",
        "value": max(later.values()),
        "step": min(step for step, accuracy in later.items() if accuracy == max(later.values())),
    }
    assert (evaluated / "checkpoints" / f"step-{best['step']:08d}").is_dir()
    trained, chosen = weights(evaluated), weights(evaluated, "best_model")
    assert all(map(np.array_equal, trained, chosen)) == (best["step"] == 8)


def test_what_is_written_for_watching(uninterrupted, evaluated):
    for name in ("training.png", "run.png"):
        assert (uninterrupted / "plots" / name).read_bytes().startswith(b"\x89PNG")
    row = history(uninterrupted)[0]
    # The queue of 10 was filled before step 1; 4 keys a step.
    assert (float(row["xlco_queue_filled"]), float(row["xlco_queue_age"])) == (1.0, 2.5)
    columns = {f"{task}_{name}" for task in ("tlm", "xlco", "dwa", "mrtd") for name in ("loss", "accuracy")}
    columns |= {f"{task}_mi_lower_bound" for task in ("tlm", "xlco", "dwa")}
    columns |= {"mrtd_original_share", "mrtd_generator_loss", "mrtd_generator_accuracy"}
    columns |= {"xlco_positive_similarity", "xlco_negative_similarity", "xlco_momentum", "gradient_norm"}
    assert columns | {"learning_rate", "padding_share", "skipped_steps", "tokens_per_step"} <= set(row)
    probabilities = json.loads((uninterrupted / "language_probabilities.json").read_text())
    for task, languages in probabilities.items():
        assert sum(found["probability"] for found in languages.values()) == pytest.approx(1.0)
        samples = 8 * 4 * (2 if task == "xlco" else 1)
        assert sum(found["epochs"] * found["records"] for found in languages.values()) == pytest.approx(samples)
    assert set(probabilities["mrtd"]) == {"de", "en"} and set(probabilities["xlco"]) == {"en-de"}


def test_sigterm_finishes_the_step_saves_and_ends_well(inputs, uninterrupted, tmp_path, capfd):
    options = arguments(inputs, tmp_path / "run", *INTERVALS, "--fresh")
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with after_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM)):
        run(pretrain.main, *options)
    out, err = capfd.readouterr()
    assert "SIGTERM: finishing the step and saving" in err
    assert "stopped by SIGTERM at step 5 of 8, which is saved; to continue, repeat the command without --fresh" in out
    assert (tmp_path / "run" / "checkpoints" / "step-00000005").is_dir()
    assert not (tmp_path / "run" / "model").exists() and not (tmp_path / "run" / "pretraining.json").exists()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    before = tree(tmp_path / "run")
    message = refused(capfd, pretrain.main, *options)
    assert "holds a run already (checkpoints, history.csv" in message and "--fresh --overwrite" in message
    assert tree(tmp_path / "run") == before
    # Other checkpoints and logs from here on leave the training as it is.
    run(pretrain.main, *options[:-1], "--set", "save_every=3", "--set", "keep_checkpoints=9")
    assert "save_every: was 4, is 3\n" in capfd.readouterr().out
    assert last_state(tmp_path / "run") == last_state(uninterrupted)
    assert history(tmp_path / "run") == history(uninterrupted)


def poison(monkeypatch, steps):
    """The batches of `steps` (from 1) get a weight of a prediction that is not a number."""
    import tensorflow as tf

    from infoxlm_keras.data import streams

    joined = streams.joined_dataset

    def poisoned(all_streams, start_step=0, **options):
        def spoil(number, batch):
            bad = tf.reduce_any(tf.equal(number + 1, tf.constant(steps, tf.int64)))
            weights = batch["mmlm"]["mask_weights"]
            weights = tf.where(bad, tf.fill(tf.shape(weights), np.float32("nan")), weights)
            return {**batch, "mmlm": {**batch["mmlm"], "mask_weights": weights}}

        numbers = tf.data.Dataset.range(start_step, 10**9)
        return tf.data.Dataset.zip(numbers, joined(all_streams, start_step, **options)).map(spoil)

    monkeypatch.setattr(streams, "joined_dataset", poisoned)


def test_a_bad_batch_is_skipped_and_too_many_end_the_run_naming_their_samples(inputs, tmp_path, monkeypatch, capsys):
    """Step 3 alone is passed over; steps 5, 6, 7 are three in a row, and 7 is exactly where it ends."""
    poison(monkeypatch, [3, 5, 6, 7])
    options = ["--tasks", "mmlm", "--set", "max_consecutive_skips=3", "--set", "save_every=4", "--set", "log_every=1"]
    capsys.readouterr()
    message = refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert "steps 5..7: gradients were not finite 3 times in a row (limit 3" in message
    assert "mmlm samples 16..27 of length 32" in message and "skipped_steps.jsonl" in message
    lines = [json.loads(line) for line in (tmp_path / "run" / "skipped_steps.jsonl").read_text().splitlines()]
    assert [(line["first_step"], line["last_step"]) for line in lines] == [(3, 3), (5, 5), (6, 6), (7, 7)]
    assert [line["samples"]["mmlm"][0]["first_sample"] for line in lines] == [8, 16, 20, 24]
    rows = {int(row["step"]): row for row in history(tmp_path / "run")}
    assert [float(rows[step]["skipped_steps"]) for step in (2, 3, 4, 5, 6)] == [0, 1, 1, 2, 3]
    assert all(np.isfinite(float(value)) for row in rows.values() for value in row.values() if value)
    # The checkpoint before the bad steps is there; with good batches the run continues from it.
    monkeypatch.undo()
    run(pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert float(history(tmp_path / "run")[-1]["skipped_steps"]) == 1
    assert len((tmp_path / "run" / "skipped_steps.jsonl").read_text().splitlines()) == 1


def test_overwrite_removes_the_run_and_nothing_else(inputs, tmp_path):
    run_dir = tmp_path / "run"
    for name in PRODUCTS:
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).mkdir() if "." not in name else (run_dir / name).write_text("old")
    (run_dir / "checkpoints" / "step-00000006").mkdir()
    (run_dir / "corpus").mkdir()
    (run_dir / "plots" / "retrieval.png").write_text("kept")
    options = ["--tasks", "mmlm", "--steps", 3, "--fresh", "--overwrite"]
    run(pretrain.main, *arguments(inputs, run_dir, *options))
    assert [row["step"] for row in history(run_dir)] == ["2", "3"]
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-00000003"]
    assert (run_dir / "corpus").is_dir() and (run_dir / "plots" / "retrieval.png").read_text() == "kept"
    assert not (run_dir / "best_model").exists() and not (run_dir / "skipped_steps.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--overwrite"], "--overwrite removes an earlier run, and is only taken together with --fresh"),
        (
            ["--set", "keep_best=retrieval_accuracy"],
            "since evaluation.pairs and data.validation_records are not set",
        ),
        (["--set", "evaluation.pairs=/nowhere"], "/nowhere"),
        (["--set", "evaluation.every=0"], "evaluation.every = 0"),
        (["--wandb", "project"], "pip install infoxlm_keras[wandb]"),
    ],
)
def test_refused_options(inputs, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    assert message in refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert not (tmp_path / "run").exists()


def test_the_start_of_a_run_is_remembered(inputs, uninterrupted, tmp_path, capsys):
    """A run from a model has that model's size and tokenizer, so that one from random weights cannot continue it."""
    model, started = shutil.copytree(uninterrupted / "model", tmp_path / "model"), tmp_path / "started"
    run(pretrain.main, *arguments(inputs, started, "--init", model, *INTERVALS, "--tasks", "xlco", "--steps", 4))
    checkpoint = read_json(started / "checkpoints" / "step-00000004" / "checkpoint.json")
    assert checkpoint["info"]["init"] == str(model)
    check_same_start(checkpoint["info"], "moved/model", started)
    more = [*INTERVALS, "--tasks", "xlco", "--steps", 5]
    message = refused(capsys, pretrain.main, *arguments(inputs, started, *more))
    assert f"{started}: its run started from --init {model}; give it again" in message
    message = refused(capsys, pretrain.main, *arguments(inputs, uninterrupted, *INTERVALS, "--init", model))
    assert f"--init {model}: the run in {uninterrupted} started from random weights; leave --init out" in message
    check_same_start({}, None, started)  # of a release that did not write it
    check_same_start({}, "model", started)


def test_other_records_are_refused(uninterrupted):
    checkpoint = read_json(uninterrupted / "checkpoints" / "step-00000008" / "checkpoint.json")
    info = load_pretrained(uninterrupted / "model").info
    check_same_data(checkpoint["info"], info, uninterrupted)
    other = dataclasses.replace(info, data={**info.data, "mmlm": "sha256:other"})
    with pytest.raises(InputError, match=r"its run read other records \(mmlm/manifest.json differs\)"):
        check_same_data(checkpoint["info"], other, uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_an_evaluation_leaves_training_as_it_is_on_the_other_backends(inputs, tmp_path, backend):
    """One run with an evaluation, continued from the checkpoint after step 4; one without. Both keep averages."""
    # On JAX one program compiles faster than each of its operations.
    common = [*INTERVALS, "--tasks", "xlco", "--set", "optimizer.name=schedule_free"]
    common += ["--set", "optimizer.schedule=constant", "--set", f"jit_compile={str(backend == 'jax').lower()}"]
    with ForkingCommands(REPOSITORY, KERAS_BACKEND=backend, QUICK_RUNS="1") as commands:

        def train(name, *options):
            log = tmp_path / f"{name}.log"
            process = commands.start(log, arguments(inputs, tmp_path / name, *common, *options))
            assert commands.wait(process) == 0, log.read_text()[-3000:]

        train("plain")
        train("evaluated", *evaluation(inputs))
        assert last_state(tmp_path / "evaluated") == last_state(tmp_path / "plain")
        shutil.rmtree(tmp_path / "evaluated" / "checkpoints" / "step-00000008")
        train("evaluated", *evaluation(inputs), "--set", "keep_best=none")
    assert last_state(tmp_path / "evaluated") == last_state(tmp_path / "plain")


def run_here(script, *options):
    """A script of the project in this process."""
    run(runpy.run_path(str(REPOSITORY / script))["main"], *options)


@pytest.mark.slow
def test_the_kill_benchmark_finds_nothing_lost(tmp_path, monkeypatch):
    """The run without interruption is a process of its own, with another order of sets; the others are forked."""
    monkeypatch.setattr(kill_resume, "recipe", run_here)
    monkeypatch.setitem(kill_resume.SETTINGS["model"], "num_layers", 1)
    start = kill_resume.start
    with ForkingCommands(REPOSITORY, KERAS_BACKEND="tensorflow") as commands:

        def start_forked(command, output_dir):
            if output_dir.name == "reference":
                return start(command, output_dir)
            return commands.popen(f"{output_dir}.log", [*command[2:], "--output_dir", output_dir])

        monkeypatch.setattr(kill_resume, "start", start_forked)
        run(kill_resume.main, "--output_dir", tmp_path / "out", "--kills", 2, "--stops", 1, "--steps", 60)
    results = read_json(tmp_path / "out" / "kill_resume.json")
    assert [len(results[name]["moments"]) for name in ("SIGKILL", "SIGTERM")] == [2, 1]
    assert results["SIGKILL"]["moments"][1]["hit"] == "the writing of a checkpoint"
