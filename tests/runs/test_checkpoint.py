"""Checkpoints: what is in them, which stay, and what happens to damaged ones and on a full disk."""

import contextlib
import errno
import json
import os
import resource
import shutil
import subprocess
import types

import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras import MMLM, XLCO, InputError
from infoxlm_keras.runs.checkpoint import best_score, restore_best, restore_newest, save_checkpoint
from infoxlm_keras.runs.checkpoint_files import checkpoints, is_better
from running import tree
from tiny_pretraining import TWO_LAYERS, array, assert_same, joint_batch, state, tiny_pretrainer


@pytest.fixture(scope="module")
def pretrainer():
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=16)], size=TWO_LAYERS, learning_rate=0.01, dropout=0.1)
    step(pretrainer)
    return pretrainer


def step(pretrainer, seed=0):
    pretrainer.train_step((joint_batch(np.random.default_rng(seed), tlm=0),))


def metrics(pretrainer):
    return [array(variable) for variable in pretrainer.metrics_variables]


def names(directory):
    return [path.name for path in checkpoints(directory)]


def test_everything_comes_back_and_the_open_interval_is_handed_over(pretrainer, tmp_path):
    saved, saved_metrics = state(pretrainer), metrics(pretrainer)
    assert any(np.any(value) for value in saved_metrics)
    save_checkpoint(tmp_path, pretrainer, 7, {"seed": 3})
    step(pretrainer, seed=1)
    pretrainer.reset_metrics()
    after_reset = metrics(pretrainer)
    restored = restore_newest(tmp_path, pretrainer)
    assert (restored.step, restored.info) == (7, {"seed": 3})
    assert_same(state(pretrainer), saved)
    assert_same(restored.metrics, saved_metrics)
    # Handed over, and not assigned: `fit` resets what there is when it begins.
    assert_same(metrics(pretrainer), after_reset)
    assert not all(np.array_equal(one, other) for one, other in zip(after_reset, saved_metrics, strict=True))


def test_an_empty_place_gives_none(pretrainer, tmp_path):
    assert restore_newest(tmp_path / "nothing", pretrainer) is None
    assert restore_newest(tmp_path, pretrainer) is None


def test_the_newest_and_the_best_stay(pretrainer, tmp_path):
    for number, (accuracy, loss) in enumerate([(0.5, 3.0), (0.9, 2.0), (0.4, 1.0), (0.9, 4.0), (0.8, 5.0)]):
        scores = {"accuracy": accuracy, "validation_loss": loss}
        for kind in scores:
            save_checkpoint(tmp_path / kind, pretrainer, 10 * number, scores=scores, keep=2, best_by=kind)
        save_checkpoint(tmp_path / "none", pretrainer, 10 * number, scores=scores, keep=2)
    # The earliest of equals; of a loss the lowest.
    assert names(tmp_path / "accuracy") == ["step-00000010", "step-00000030", "step-00000040"]
    assert names(tmp_path / "validation_loss") == ["step-00000020", "step-00000030", "step-00000040"]
    assert names(tmp_path / "none") == ["step-00000030", "step-00000040"]
    assert best_score(tmp_path / "accuracy", "accuracy") == 0.9
    assert restore_best(tmp_path / "validation_loss", pretrainer, "validation_loss") == (20, 1.0)
    assert restore_best(tmp_path / "none", pretrainer, "other") is None


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_no_score(pretrainer, tmp_path, number):
    """The checkpoint is saved all the same, and is not the best one."""
    for step, score in enumerate([number, 2.0, number, number], start=1):
        save_checkpoint(tmp_path, pretrainer, step, scores={"val_loss": score}, keep=1, best_by="val_loss")
    assert names(tmp_path) == ["step-00000002", "step-00000004"]
    assert restore_best(tmp_path, pretrainer, "val_loss") == (2, 2.0)
    for name in ("val_loss", "accuracy"):
        assert not is_better(name, number, None) and not is_better(name, number, 1.0)


def test_steps_of_nine_digits_are_newer(pretrainer, tmp_path):
    for number in (99_999_999, 100_000_000):
        save_checkpoint(tmp_path, pretrainer, number, keep=1)
    assert names(tmp_path) == ["step-100000000"]
    assert restore_newest(tmp_path, pretrainer).step == 100_000_000


def truncate(path):
    path = path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    path = path / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def halve_information(path):
    path = path / "checkpoint.json"
    path.write_text(path.read_text()[:40])


def empty(path):
    shutil.rmtree(path)
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, "state.safetensors is truncated or damaged"),
        (flip, "state.safetensors is truncated or damaged"),
        (lambda path: (path / "state.safetensors").unlink(), "state.safetensors is missing"),
        (lambda path: (path / "checkpoint.json").unlink(), "checkpoint.json: no such file"),
        (lambda path: (path / "checkpoint.json").write_text("{}"), "checkpoint.json is not complete"),
        (halve_information, "checkpoint.json: is not valid JSON"),
        (empty, "checkpoint.json: no such file"),
    ],
)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(pretrainer, tmp_path, harm, message):
    pretrainer.loss_scale.assign(4.0)
    save_checkpoint(tmp_path, pretrainer, 10)
    pretrainer.loss_scale.assign(8.0)
    save_checkpoint(tmp_path, pretrainer, 20)
    harm(tmp_path / "step-00000020")
    told = []
    assert restore_newest(tmp_path, pretrainer, report=told.append).step == 10
    assert float(pretrainer.loss_scale) == 4.0
    assert len(told) == 1 and message in told[0] and "step-00000020" in told[0] and "before it" in told[0]
    # It is out of the way: an earlier step than its own may be saved, and is then the newest.
    save_checkpoint(tmp_path, pretrainer, 15, keep=1)
    assert names(tmp_path) == ["step-00000015"] and (tmp_path / "damaged-step-00000020").is_dir()
    assert restore_newest(tmp_path, pretrainer, report=told.append).step == 15 and len(told) == 1


def test_a_run_with_damaged_checkpoints_only_does_not_start_over(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10)
    truncate(tmp_path / "step-00000010")
    with pytest.raises(InputError, match="none of its 1 checkpoints is intact.*--fresh --overwrite"):
        restore_newest(tmp_path, pretrainer, report=lambda line: None)


def test_a_checkpoint_of_another_release_or_model_is_refused(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10)
    other = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    with pytest.raises(InputError, match="model of other settings"):
        restore_newest(tmp_path, other)
    as_of_version_2(tmp_path / "step-00000010", version=99)
    with pytest.raises(InputError, match="version 99, this release reads 3"):
        restore_newest(tmp_path, pretrainer)
    assert names(tmp_path) == ["step-00000010"]


# === Disk full ===


@contextlib.contextmanager
def small_files(directory, monkeypatch):
    """The system refuses to write more than 2 KiB to a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def full_device(directory, monkeypatch):
    """Every write of the state says that the device is full."""

    def no_space(state, path):
        path.write_bytes(b"half")
        raise safetensors.SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.numpy, "save_file", no_space)
        yield


@contextlib.contextmanager
def full_while_forced_to_disk(directory, monkeypatch):
    """The space runs out only when the system writes its buffers."""

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        yield


@contextlib.contextmanager
def little_free(directory, monkeypatch):
    """The disk has too little room, so that nothing is written at all."""
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(total=1 << 40, free=4096))
        patch.setattr(safetensors.numpy, "save_file", None)
        yield


@pytest.mark.parametrize(
    ("full", "reason"),
    [
        (little_free, "no space left on device"),
        (small_files, "file too large"),
        (full_device, "no space left on device"),
        (full_while_forced_to_disk, "no space left on device"),
    ],
)
def test_a_full_disk_ends_with_a_message_and_leaves_what_there_was(pretrainer, tmp_path, monkeypatch, full, reason):
    save_checkpoint(tmp_path, pretrainer, 10, keep=1)
    before = tree(tmp_path)
    with full(tmp_path, monkeypatch), pytest.raises(InputError) as error:
        save_checkpoint(tmp_path, pretrainer, 20, keep=1)
    assert tree(tmp_path) == before and names(tmp_path) == ["step-00000010"]
    assert f"{reason}: the checkpoint of step 20 was not saved; step-00000010 is intact" in str(error.value)
    assert "run this again" in str(error.value)
    assert restore_newest(tmp_path, pretrainer).step == 10


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_system_that_is_really_full(pretrainer, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this system lets root mount nothing")
    try:
        save_checkpoint(place, pretrainer, 10)
        with pytest.raises(InputError, match="no space left on device.*step-000000.0 is intact; free some space"):
            for number in range(20, 100, 10):
                save_checkpoint(place, pretrainer, number, keep=100)
        intact = names(place)
        assert 1 <= len(intact) < 9 and sorted(os.listdir(place)) == intact
        assert restore_newest(place, pretrainer).step == 10 * len(intact)
    finally:
        subprocess.run(["umount", place], check=True)


# === What checkpoint.json says ===


def change(path, **values):
    """Other values in checkpoint.json; the checksum is left as it was."""
    path = path / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    "values",
    [
        {"step": 30},
        {"scores": {"accuracy": 0.99}},
        {"info": {"seed": 4}},
        {"version": 4},
        {"sha256": "0" * 64},
        {"checksum": "0" * 64},
        {"checksum": None},
        {"scores": ["accuracy"]},
        {"more": 1},
    ],
)
def test_a_changed_value_is_damage(pretrainer, tmp_path, values):
    for step in (10, 20):
        save_checkpoint(tmp_path, pretrainer, step, {"seed": 3}, {"accuracy": 0.5})
    change(tmp_path / "step-00000020", **values)
    told = []
    assert restore_newest(tmp_path, pretrainer, report=told.append).step == 10
    assert len(told) == 1 and "step-00000020: checkpoint.json is" in told[0]


def test_layout_is_no_damage(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10, {"text": "naïve \U0001f600", "number": 1e-7}, {"loss": 0.1 + 0.2})
    path = tmp_path / "step-00000010" / "checkpoint.json"
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert restore_newest(tmp_path, pretrainer).step == 10


def test_a_checkpoint_in_another_ones_place_is_damage(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10)
    shutil.copytree(tmp_path / "step-00000010", tmp_path / "step-00000020")
    told = []
    assert restore_newest(tmp_path, pretrainer, report=told.append).step == 10
    assert "step-00000020: checkpoint.json is of step 10, its directory of step 20" in told[0]


def as_of_version_2(path, **values):
    path = path / "checkpoint.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    path.write_text(json.dumps({**content, "version": 2, **values}))


def test_checkpoints_of_the_version_before_are_read(pretrainer, tmp_path):
    for step in (10, 20):
        save_checkpoint(tmp_path, pretrainer, step, scores={"accuracy": step / 100})
        as_of_version_2(tmp_path / f"step-{step:08d}")
    assert restore_newest(tmp_path, pretrainer).step == 20
    assert best_score(tmp_path, "accuracy") == 0.2
    for values in ({"step": "20"}, {"step": 30}, {"scores": {"accuracy": "high"}}, {"info": []}, {"sha256": 1}):
        save_checkpoint(tmp_path, pretrainer, 20)
        as_of_version_2(tmp_path / "step-00000020", **values)
        told = []
        assert restore_newest(tmp_path, pretrainer, report=told.append).step == 10
        assert len(told) == 1


@pytest.mark.parametrize("harm", [truncate, flip, halve_information, empty, lambda path: change(path, step=30)])
@pytest.mark.parametrize("by", ["accuracy", "val_loss"])
def test_a_damaged_best_checkpoint_is_named_and_replaced_by_the_next_best(pretrainer, tmp_path, harm, by):
    values = {"accuracy": [0.9, 0.8, 0.7], "val_loss": [1.0, 2.0, 3.0]}[by]
    for number, value in enumerate(values):
        save_checkpoint(tmp_path, pretrainer, 10 + number, scores={by: value}, keep=3, best_by=by)
    harm(tmp_path / "step-00000010")
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=lambda folder, names: [n for n in names if n == "copy"])
    told = []
    assert best_score(tmp_path / "copy", by, report=told.append) == values[1]
    assert restore_best(tmp_path, pretrainer, by, report=told.append) == (11, values[1])
    assert len(told) == 2 and all("step-00000010: " in line and "best checkpoint" in line for line in told)
    assert names(tmp_path) == ["step-00000011", "step-00000012"] and (tmp_path / "damaged-step-00000010").is_dir()
    # Said once: it is no checkpoint any more.
    assert restore_best(tmp_path, pretrainer, by, report=told.append) == (11, values[1]) and len(told) == 2


def test_without_an_intact_scored_checkpoint_there_is_no_best(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10, scores={"accuracy": 0.5})
    save_checkpoint(tmp_path, pretrainer, 20)
    truncate(tmp_path / "step-00000010")
    told = []
    assert restore_best(tmp_path, pretrainer, "accuracy", report=told.append) is None and len(told) == 1


def test_files_in_the_place_of_checkpoints(pretrainer, tmp_path):
    save_checkpoint(tmp_path, pretrainer, 10)
    (tmp_path / "step-00000020").write_text("no directory")
    (tmp_path / "damaged-step-00000020").write_text("set aside before")
    save_checkpoint(tmp_path, pretrainer, 30)
    (tmp_path / "step-00000030" / "state.safetensors").unlink()
    (tmp_path / "step-00000030" / "state.safetensors").mkdir()
    told = []
    assert restore_newest(tmp_path, pretrainer, report=told.append).step == 10
    assert len(told) == 2 and names(tmp_path) == ["step-00000010"]
