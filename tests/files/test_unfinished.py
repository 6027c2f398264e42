"""What killed writers leave is removed by the next one; what a living one writes is not touched."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import atomic, new_directory, unfinished, write_atomically
from infoxlm_keras.files.exchange import exchange
from running import tree

DIRECTORY = """
from infoxlm_keras.files import new_directory
with new_directory("out/model", replace=True) as path:
    (path / "deep").mkdir()
    (path / "deep" / "half").write_text("half")
    wait()
"""
FILE = """
from infoxlm_keras.files.written_files import whole_file
with whole_file("out/model") as file:
    file.write(b"half")
    file.flush()
    wait()
"""
WAIT = "def wait():\n    print('written', flush=True)\n    import time\n    time.sleep(60)\n"
DAY = 24 * 3600


@pytest.fixture
def writer(tmp_path):
    """Starts a process that writes half of `out/model` and waits."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", WAIT + code], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        started.append(process)
        assert process.stdout.readline() == "written\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def write_directory(out):
    with new_directory(out / "model", replace=True) as path:
        (path / "weights").write_text("whole")


def write_file(out):
    write_atomically(out / "model", "whole")


def partials(out):
    return sorted(name for name in os.listdir(out) if ".partial" in name)


@pytest.mark.parametrize(("code", "write"), [(DIRECTORY, write_directory), (FILE, write_file)])
def test_what_a_killed_writer_left_goes_and_a_living_writers_stays(tmp_path, writer, code, write):
    out = tmp_path / "out"
    killed, living = writer(code), writer(code)
    kill(killed)
    assert len(partials(out)) == 2
    write_atomically(out / "another", "name")
    assert len(partials(out)) == 2
    write(out)
    [left] = partials(out)
    assert "half" in str(tree(out / left) if (out / left).is_dir() else (out / left).read_bytes())
    assert living.poll() is None
    kill(living)
    write(out)
    assert partials(out) == []


def test_a_refused_attempt_removes_it_too(tmp_path, writer):
    """Where the unfinished directory lies in the output, it is no content of it."""
    kill(writer(DIRECTORY))
    [left] = partials(tmp_path / "out")
    os.makedirs(tmp_path / "out" / "model")
    os.rename(tmp_path / "out" / left, tmp_path / "out" / "model" / left)
    with new_directory(tmp_path / "out" / "model") as path:
        (path / "weights").write_text("whole")
    assert tree(tmp_path) == {"out/model/weights": b"whole"}


def leave(path, age):
    """A directory as another process would have left it, not changed for `age` seconds."""
    path.mkdir(parents=True)
    (path / "half").write_text("half")
    for each in (path / "half", path):
        os.utime(each, (time.time() - age,) * 2)


@pytest.mark.parametrize("ending", ["4711", "abcdef-123456"])
def test_without_proof_what_is_a_day_old_goes(tmp_path, ending, monkeypatch):
    """Of an earlier release, which had no lock, or of another machine, whose lock this one may not see."""
    monkeypatch.setattr(unfinished, "_machine", lambda: "012345")
    old, young, changed = (tmp_path / f".{name}.partial-{ending}" for name in ("old", "young", "changed"))
    leave(old, DAY + 60)
    leave(young, DAY - 600)
    leave(changed, DAY + 60)
    os.utime(changed / "half")
    for name in ("old", "young", "changed"):
        with new_directory(tmp_path / name):
            pass
    assert partials(tmp_path) == sorted([young.name, changed.name])


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr(unfinished.fcntl, "flock", no_locks)
    young, old = (tmp_path / f".model.partial-{unfinished._machine()}-00000{number}" for number in range(2))
    leave(young, 60)
    leave(old, DAY + 60)
    write_directory(tmp_path)
    assert tree(tmp_path) == {f"{young.name}/half": b"half", "model/weights": b"whole"}


@pytest.mark.parametrize("exchanges", [True, False])
def test_the_old_directory_goes_after_the_new_one_is_in_its_place(tmp_path, monkeypatch, exchanges):
    """A kill while the old one is removed leaves the new one; the next writer removes the rest of the old one."""
    if not exchanges:
        monkeypatch.setattr(atomic, "exchange", lambda one, other: False)
    write_directory(tmp_path)
    (tmp_path / "model" / "weights").write_text("old")
    seen = []
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda path, **options: seen.append((path, tree(tmp_path / "model"))))
    write_directory(tmp_path)
    (old, new), *_ = seen
    assert new == {"weights": b"whole"} and tree(old) == {"weights": b"old"}
    monkeypatch.undo()
    write_directory(tmp_path)
    assert tree(tmp_path) == {"model/weights": b"whole"}


def test_names_are_exchanged_in_one_operation(tmp_path):
    """So no moment is without a directory of the name, in which a kill would lose it."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert tree(tmp_path) == {"one/file": b"other", "other/file": b"one"}
    assert not exchange(tmp_path / "one", tmp_path / "nowhere")
    assert tree(tmp_path) == {"one/file": b"other", "other/file": b"one"}


def test_what_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(InputError, match="model: was filled by something else while this was written"):
        with new_directory(tmp_path / "model") as path:
            (path / "weights").write_text("mine")
            (tmp_path / "model").mkdir()
            (tmp_path / "model" / "precious").write_text("theirs")
    assert tree(tmp_path) == {"model/precious": b"theirs"}


def test_what_others_named_alike_stays(tmp_path):
    mine = [".model.partial", ".model.partial-notes", "model.partial-7", ".other.partial-7", ".my.model.partial-7"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".model.partial-7").symlink_to(tmp_path / "model.partial-7")
    write_directory(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*mine, ".model.partial-7", "model"])
