"""The directory of a run: who may use it, with which settings, and what is removed from it."""

import functools
import os
import subprocess
import sys

import pytest

from infoxlm_keras.config import check_config
from infoxlm_keras.errors import InputError
from infoxlm_keras.runs.directory import (
    PRODUCTS,
    RunDirectory,
    changed_settings,
)


def config(**values):
    return check_config({"steps": 100, "optimizer": {"warmup_steps": 10}, **values})


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "checkpoints" / "step-00000010").mkdir(parents=True)
    RunDirectory(tmp_path).write_config(config())
    return tmp_path


def test_the_same_settings_go_on_and_others_are_named(run_dir):
    assert RunDirectory(run_dir).check(config()) == []
    assert RunDirectory(run_dir / "new").check(config(seed=3)) == []
    with pytest.raises(InputError, match=r"seed was 0 and is 3, xlco.temperature was 0.25 and is 0.1; resume it"):
        RunDirectory(run_dir).check(config(seed=3, xlco={"temperature": 0.1}, log_every=7))


def test_settings_that_leave_training_as_it_is_may_change(run_dir):
    free = {"log_every": 7, "save_every": 8, "keep_checkpoints": 1, "keep_best": "none", "max_consecutive_skips": 9}
    changes = RunDirectory(run_dir).check(config(**free, evaluation={"every": 11}))
    assert changes == [
        "log_every: was 100, is 7",
        "save_every: was 5000, is 8",
        "keep_checkpoints: was 3, is 1",
        "keep_best: was 'auto', is 'none'",
        "max_consecutive_skips: was 50, is 9",
        "evaluation.every: was 1000, is 11",
    ]


def test_another_number_of_steps_says_what_the_learning_rate_does(run_dir):
    changes = changed_settings(config(), config(steps=200), run_dir / "config.yaml")
    assert changes[0] == "steps: was 100, is 200" and "the learning rate now reaches its end" in changes[1]


def test_only_what_follows_the_number_of_steps_is_named(run_dir):
    constant, masking = {"warmup_steps": 10, "schedule": "constant"}, {"final_probability": 0.3}
    same = config(optimizer=constant), config(optimizer=constant, steps=200)
    assert changed_settings(*same, run_dir / "config.yaml") == ["steps: was 100, is 200"]
    same = config(optimizer=constant, masking=masking), config(optimizer=constant, masking=masking, steps=200)
    _, line = changed_settings(*same, run_dir / "config.yaml")
    assert line.startswith("steps changed: masking.final_probability now reaches its end")
    _, line = changed_settings(config(masking=masking), config(masking=masking, steps=200), run_dir / "config.yaml")
    assert line.startswith("steps changed: the learning rate and masking.final_probability now reach their end")


def test_fresh_demands_an_empty_place(run_dir):
    (run_dir / "corpus").mkdir()
    with pytest.raises(InputError, match=r"holds a run already \(checkpoints, config.yaml .*--fresh --overwrite"):
        RunDirectory(run_dir).check(config(), fresh=True)
    assert RunDirectory(run_dir).check(config(seed=3), fresh=True, overwrite=True) == []
    assert (run_dir / "checkpoints" / "step-00000010").is_dir()
    RunDirectory(run_dir).start_over()
    assert [path.name for path in run_dir.iterdir()] == ["corpus"]
    assert RunDirectory(run_dir).check(config(seed=3), fresh=True) == []


@pytest.mark.parametrize("options", [{}, {"fresh": True, "overwrite": True}])
def test_what_would_be_lost_with_a_model_is_named_before_training(run_dir, options):
    """The models are replaced at the end, or removed by --overwrite."""
    (run_dir / "model").mkdir()
    (run_dir / "model" / "config.json").write_text("{}")
    check = functools.partial(RunDirectory(run_dir).check, config(), **options)
    assert check(inputs=["infoxlm_base", run_dir]) == []
    for source in (run_dir / "model", f"{run_dir}/model/", run_dir / "plots" / ".." / "model" / "config.json"):
        with pytest.raises(InputError, match="model: would be replaced, but .* is read from it"):
            check(inputs=[source])
    (run_dir / "model" / "retrieval.json").write_text("{}")
    with pytest.raises(InputError, match="model: holds retrieval.json, which would be deleted"):
        check()


FOLDERS = ("checkpoints", "tensorboard", "model", "best_model", "initial_model", "plots")
FILES = ("config.yaml", "history.csv", ".lock", "pretraining.json", "language_probabilities.json", "plots/run.png")


@pytest.mark.parametrize("name", [*FOLDERS, *FILES, "", "skipped_steps.jsonl", "wandb_run.txt", "wandb"])
@pytest.mark.parametrize("kind", ["other", "pipe"])
def test_what_has_the_name_of_something_else_is_refused_and_left(tmp_path, name, kind):
    path = tmp_path / "run" / name if name else tmp_path / "run"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif name in (*FOLDERS, "", "wandb"):
        path.write_text("text")
    else:
        (path / "mine").mkdir(parents=True)
    for options in ({}, {"fresh": True}, {"fresh": True, "overwrite": True}):
        with pytest.raises(InputError, match="move it away, or give another --output_dir") as error:
            RunDirectory(tmp_path / "run").check(config(), **options)
        assert str(path) in str(error.value)
    assert path.exists()


def test_directories_may_be_links(run_dir, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "events").write_text("")
    (run_dir / "tensorboard").symlink_to(elsewhere)
    assert RunDirectory(run_dir).check(config()) == []
    RunDirectory(run_dir).start_over()
    assert list(run_dir.iterdir()) == [] and (elsewhere / "events").exists()


def test_a_run_without_its_settings_says_so(run_dir):
    (run_dir / "config.yaml").unlink()
    (line,) = RunDirectory(run_dir).check(config())
    assert "config.yaml: is missing" in line and "cannot be compared" in line


def test_one_process_at_a_time(tmp_path):
    code = "\n".join(
        [
            "import pathlib, sys",
            "from infoxlm_keras.runs.directory import RunDirectory",
            f"with RunDirectory({str(tmp_path)!r}).claimed():",
            "    print('ready', flush=True)",
            "    sys.stdin.read()",
        ]
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "ready\n"
            with (
                pytest.raises(InputError, match=rf"process {other.pid} is training in it"),
                RunDirectory(tmp_path).claimed(),
            ):
                pass
        finally:
            other.kill()
    with RunDirectory(tmp_path).claimed():  # a kill gives it back
        pass


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    ours = [f".{name}.partial-7" for name in PRODUCTS if "/" not in name] + ["plots/.run.png.partial-7"]
    ours += ["checkpoints/.step-00000010.partial-7", ".checkpoints.partial-12"]
    others = [".corpus.partial-7", "model.partial-7", "checkpoints/step-00000010", ".history.csv"]
    for name in [*ours, *others]:
        (tmp_path / name).mkdir(parents=True)
    with RunDirectory(tmp_path).claimed():
        assert [name for name in ours if (tmp_path / name).exists()] == []
        assert [name for name in others if not (tmp_path / name).exists()] == []
