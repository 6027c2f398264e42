"""A folder in an object store: complete or absent at every moment, whatever operation is the last one."""

import itertools
import os
import uuid

import fsspec
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage
from infoxlm_keras.files.mirror import FLAG, Mirror
from infoxlm_keras.files.staging import local_copy
from object_stores import objects
from running import tree


class Killed(BaseException):
    """Ends a process between two operations."""


@pytest.fixture
def address():
    return f"memory://{uuid.uuid4().hex}/run"


def checkpoint(directory, step):
    unit = directory / f"checkpoints/step-{step}"
    unit.mkdir(parents=True)
    (unit / "state.safetensors").write_text(f"state {step}")
    (unit / "more.bin").write_text(f"more {step}")
    (unit / "checkpoint.json").write_text(f"info {step}")


def model(directory, text):
    for name in ("model/a.h5", "model/assets/b.spm", "model/config.json"):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name} {text}")


def visible(local):
    return {name: content for name, content in tree(local).items() if not os.path.basename(name).startswith(".")}


def mirrored(address, local):
    mirror = Mirror(address, local, report=lambda line: None)
    mirror.pull()
    return mirror


@pytest.fixture
def killed_at(monkeypatch):
    """Lets that many operations of a store happen, and ends the process at the next; returns a counter."""
    left = {"operations": None}

    def limited(name, original):
        def operation(self, *arguments, **options):
            if left["operations"] is not None:
                if left["operations"] == 0:
                    raise Killed
                left["operations"] -= 1
            return original(self, *arguments, **options)

        return operation

    kind = fsspec.get_filesystem_class("memory")
    for name in ("put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(kind, name, limited(name, getattr(kind, name)))
    # One after the other, so that every order of files is that of the source.
    monkeypatch.setattr(storage, "_in_parallel", lambda transfer, names: [transfer(name) for name in names])
    return left


def test_every_moment_of_an_upload_leaves_whole_units(tmp_path, killed_at):
    def content(unit, files):
        return {name: text for name, text in files.items() if name.startswith(f"{unit}/")}

    for count in itertools.count():
        address = f"memory://{uuid.uuid4().hex}/run"
        local = tmp_path / f"{count}" / "run"
        mirror = mirrored(address, local)
        checkpoint(local, 1)
        model(local, "old")
        (local / "history.csv").write_text("step\n1\n")
        mirror.push()
        before = visible(local)
        # A new checkpoint, a model in place of another, a log that has grown, and an old checkpoint that goes.
        checkpoint(local, 2)
        model(local, "new one")
        (local / "history.csv").write_text("step\n1\n2\n")
        for file in (local / "checkpoints/step-1").iterdir():
            file.unlink()
        (local / "checkpoints/step-1").rmdir()
        after = visible(local)
        killed_at["operations"] = count
        try:
            mirror.push()
        except Killed:
            ended = False
        else:
            ended = True
        killed_at["operations"] = None
        # Another machine: each unit is as before, as after, or absent; the newest checkpoint is never lost.
        elsewhere = tmp_path / f"{count}" / "elsewhere"
        raw = objects(address)
        mirrored(address, elsewhere)
        found = visible(elsewhere)
        steps = {name.split("/")[1] for name in found if name.startswith("checkpoints/")}
        assert steps & {"step-1", "step-2"}, sorted(raw)
        for unit in ("checkpoints/step-1", "checkpoints/step-2", "model"):
            assert content(unit, found) in ({}, content(unit, before), content(unit, after)), (count, unit)
        assert not any(FLAG in name for name in objects(address))
        assert objects(address) == found
        if ended:
            assert found == after
            break
    assert count > 10


def test_a_process_that_begins_again_keeps_what_the_store_lacks(tmp_path, address, killed_at):
    local = tmp_path / "run"
    mirror = mirrored(address, local)
    checkpoint(local, 1)
    mirror.push()
    checkpoint(local, 2)
    expected = visible(local)
    killed_at["operations"] = 2
    with pytest.raises(Killed):
        mirror.push()
    killed_at["operations"] = None
    again = mirrored(address, local)
    assert visible(local) == expected
    again.push()
    assert objects(address) == expected
    # Of a store that another machine has changed, the store is right.
    storage.write_bytes(storage.join(address, "history.csv"), b"other")
    (local / "checkpoints/step-2/more.bin").write_text("changed here")
    mirrored(address, local)
    assert visible(local) == {**expected, "history.csv": b"other"}


def test_two_writers_are_noticed(tmp_path, address):
    first, second = (mirrored(address, tmp_path / name) for name in ("a", "b"))
    checkpoint(tmp_path / "a", 1)
    first.push()
    checkpoint(tmp_path / "b", 1)
    with pytest.raises(InputError, match="another process has written there"):
        second.push()
    assert objects(address) == visible(tmp_path / "a")


def test_large_files_come_when_they_are_asked_for(tmp_path, address):
    mirror = mirrored(address, tmp_path / "a")
    checkpoint(tmp_path / "a", 1)
    checkpoint(tmp_path / "a", 2)
    mirror.push()
    expected = visible(tmp_path / "a")
    local = tmp_path / "b"
    lazy = Mirror(address, local, on_demand=lambda name: name.endswith(".safetensors"))
    lazy.pull()
    state = local / "checkpoints/step-2/state.safetensors"
    assert state.read_text() == "" and (local / "checkpoints/step-2/more.bin").read_text() == "more 2"
    lazy.fetch(state)
    assert state.read_text() == "state 2"
    checkpoint(local, 3)
    lazy.push()
    # What was not asked for is in the store still.
    assert {name: text for name, text in objects(address).items() if "step-3" not in name} == expected


def test_a_half_written_model_is_refused_and_other_files_are_left_alone(tmp_path, address, killed_at):
    storage.write_bytes(storage.join(address, ".keep"), b"of another program")
    mirror = mirrored(address, tmp_path / "run")
    model(tmp_path / "run", "x")
    killed_at["operations"] = 2
    with pytest.raises(Killed):
        mirror.push()
    killed_at["operations"] = None
    with pytest.raises(InputError, match="model: its upload was cut short; run the command that writes it again"):
        local_copy(address)
    with pytest.raises(InputError, match="cut short"):
        local_copy(f"{address}/model")
    mirrored(address, tmp_path / "elsewhere")
    assert objects(address) == {".keep": b"of another program"}
