"""The pre-training command: a whole run, an interrupted one that resumes bit for bit, and refused input."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from infoxlm_keras.commands import pretrain
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.records.manifest import read_manifest
from quick_runs import quick_runs
from repository import REPOSITORY
from running import refused, run, tree
from tiny_run import arguments, history, weights


@pytest.fixture(scope="module", autouse=True)
def quick():
    """All runs in this process; those on the other backends are processes as a user starts them."""
    with quick_runs():
        yield


@pytest.fixture(scope="module")
def whole_run(inputs, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("whole") / "run"
    run(pretrain.main, *arguments(inputs, output_dir))
    return output_dir


def test_a_run_leaves_its_preset_history_settings_and_result(whole_run, tokenizer):
    model = load_pretrained(whole_run / "model")
    assert model.info.steps == 8 and model.info.tasks == ["mmlm", "tlm", "xlco"]
    assert model.info.universal_layer == 1 and model.info.tokenizer_fingerprint == tokenizer.fingerprint
    rows = history(whole_run)
    assert [int(row["step"]) for row in rows] == [2, 4, 6, 8]
    for row in rows:
        # I >= log N - L, N = vocabulary size.
        bound = np.log(tokenizer.vocabulary_size) - float(row["mmlm_loss"])
        assert abs(bound - float(row["mmlm_mi_lower_bound"])) < 1e-4
    assert yaml.safe_load((whole_run / "config.yaml").read_text())["steps"] == 8
    result = json.loads((whole_run / "pretraining.json").read_text())
    assert result["step"] == 8 and result["last_interval"]["xlco_loss"] == float(rows[-1]["xlco_loss"])
    assert list((whole_run / "tensorboard").glob("events.*"))
    assert sorted(path.name for path in (whole_run / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000006",
        "step-00000008",
    ]


def test_the_same_seed_gives_the_same_run(inputs, whole_run, tmp_path):
    run(pretrain.main, *arguments(inputs, tmp_path / "again"))
    assert history(tmp_path / "again") == history(whole_run)
    for first, second in zip(weights(tmp_path / "again"), weights(whole_run), strict=True):
        assert np.array_equal(first, second)


def test_a_finished_run_is_left_as_it_is(inputs, whole_run, tmp_path):
    shutil.copytree(whole_run, tmp_path / "run")
    run(pretrain.main, *arguments(inputs, tmp_path / "run"))
    assert history(tmp_path / "run") == history(whole_run)


def test_one_task_alone_and_continuing_from_a_preset(inputs, whole_run, tmp_path):
    options = ["--tasks", "xlco", "--init", whole_run / "model", "--steps", 3, "--set", "model.dropout=null"]
    run(pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert [name for name in history(tmp_path / "run")[-1] if name.endswith("_loss")] == ["xlco_loss"]
    model = load_pretrained(tmp_path / "run" / "model")
    assert model.info.tasks == ["xlco"] and model.backbone.dropout == 0.0


@pytest.mark.slow
def test_a_run_continues_a_hugging_face_checkpoint(inputs, tokenizer, tmp_path, capsys):
    """Its head is kept, and no warning of a random head is printed."""
    from tiny_huggingface import write_checkpoint

    (tmp_path / "hf").mkdir()
    write_checkpoint(tmp_path / "hf", tokenizer)
    options = ["--tasks", "mmlm", "--init", tmp_path / "hf", "--steps", 3, "--set", "save_initial_model=true"]
    run(pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert "a random one" not in capsys.readouterr().out
    expected = load_pretrained(tmp_path / "hf").masked_lm.get_weights()
    initial = load_pretrained(tmp_path / "run" / "initial_model").masked_lm.get_weights()
    for one, other in zip(initial, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(not np.array_equal(a, b) for a, b in zip(initial, weights(tmp_path / "run"), strict=True))


def test_the_initial_model_is_the_random_one(inputs, tmp_path):
    options = ["--steps", 3, "--tasks", "mmlm", "--set", "save_initial_model=true"]
    run(pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    initial = load_pretrained(tmp_path / "run" / "initial_model").masked_lm.get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(initial, weights(tmp_path / "run"), strict=True))
    assert abs(np.std(initial[0]) - 0.02) < 0.003  # the initializer's deviation


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_command_runs_on_the_other_backends(inputs, whole_run, tmp_path, backend):
    # As in the shipped configurations; on JAX one program compiles faster than each of its operations.
    options = arguments(inputs, tmp_path / "run", "--steps", 4, "--set", "save_initial_model=true")
    options += ["--set", f"jit_compile={str(backend == 'jax').lower()}"]
    recipe = REPOSITORY / "recipes" / "pretrain.py"
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run([sys.executable, recipe, *map(str, options)], env=environment, check=True)
    first, expected = history(tmp_path / "run")[0], history(whole_run)[0]
    # The batches are the same; initial weights and dropout are drawn by each backend's own generator.
    for task in ("mmlm", "tlm"):
        assert abs(float(first[f"{task}_loss"]) - float(expected[f"{task}_loss"])) < 0.5
    assert len(weights(tmp_path / "run")) == len(weights(whole_run))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "xlco.temprature=1"], "xlco.temprature: unknown key; did you mean temperature?"),
        (["--set", "xlco.temperature=0"], "xlco.temperature = 0"),
        (["--set", "xlco.queue_length=3"], "xlco.queue_length = 3: must be at least xlco.batch_size = 4"),
        (["--set", "xlco.universal_layer=3"], "layer 3: the encoder has hidden states 0..2, of which 1..2 are taken"),
        (["--set", "model.num_heads=3"], "num_heads = 3: does not divide hidden_dim = 8"),
        (["--set", "model.max_sequence_length=31"], "have 32 tokens, but the model has 31 positions"),
        (["--set", "model.max_sequence_length=62"], "have 63 tokens, but the model has 62 positions"),
        (["--set", "data.language_exponent=2"], "data.language_exponent = 2"),
        (["--set", "nonsense"], "write it as key=value"),
        (["--tasks", "mmlm,nmt"], "tasks.1 = 'nmt'"),
        (["--tasks", "mmlm,mmlm"], "each only once"),
        (["--steps", "2"], "optimizer.warmup_steps = 2: must be below steps = 2"),
        (["--init", "./nowhere"], "./nowhere: no such directory"),
        (["--data_dir", "/nowhere"], "/nowhere/mmlm/manifest.json: no such file; make the records with"),
        (["--config", "/nowhere.yaml"], "/nowhere.yaml: no such file"),
    ],
)
def test_refused_before_anything_is_written(inputs, tmp_path, capsys, options, message):
    assert message in refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert not (tmp_path / "run").exists()


def test_records_of_another_tokenizer_are_refused(inputs, tmp_path, capsys, tiny_preset):
    data = tmp_path / "data"
    shutil.copytree(inputs / "data", data)
    path = data / "mmlm" / "manifest.json"
    path.write_text(path.read_text().replace(read_manifest(data, "mmlm").tokenizer.fingerprint, "sha256:other"))
    options = ["--data_dir", data, "--init", tiny_preset]
    message = refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *options))
    assert "records were made with another tokenizer" in message and not (tmp_path / "run").exists()


def test_a_directory_of_another_run_is_refused_and_left_alone(inputs, whole_run, tmp_path, capsys):
    shutil.copytree(whole_run, tmp_path / "run")
    before = tree(tmp_path / "run")
    message = refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", "--set", "seed=6"))
    assert "holds a run of another configuration" in message and tree(tmp_path / "run") == before
