"""Large pages for a training process: what is asked for, where not, and that a restarted program is the same one."""

import os
import pathlib
import subprocess
import sys

import pytest

from infoxlm_keras import host_memory
from infoxlm_keras.commands import dispatch
from repository import REPOSITORY

MODERN = (2, 36)
PROBE = """
import os, pathlib, sys
from infoxlm_keras import host_memory
host_memory.KERNEL_SETTING = pathlib.Path(os.environ["SETTING"])
host_memory.ACCELERATORS = ()
host_memory._glibc_version = lambda: (2, 36)
print("begins", os.getpid(), flush=True)
host_memory.restart_with_large_pages(__file__)
print("goes on", os.getpid(), os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], sys.stdin.read(), flush=True)
"""


def probe(tmp_path, kernel="always [madvise] never", arguments=(), before=(), **variables):
    """Lines that the probe prints, run as a script with `variables` in its environment."""
    script, setting = tmp_path / "a probe.py", tmp_path / "enabled"
    script.write_text(PROBE)
    setting.write_text(kernel)
    inherited = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(sys.path), "SETTING": str(setting), **variables}
    command = [sys.executable, *before, str(script), *arguments]
    done = subprocess.run(command, input="typed", capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_program_begins_again_in_the_same_process(tmp_path):
    first, second, last = probe(tmp_path, arguments=["--set", "a=b c", "ü", ""])
    assert first == second
    number = first.split()[1]
    assert last == f"goes on {number} glibc.malloc.hugetlb=1 {['--set', 'a=b c', 'ü', '']!r} typed"


def test_other_settings_of_the_user_stay(tmp_path):
    *_, last = probe(tmp_path, GLIBC_TUNABLES="glibc.malloc.perturb=0")
    assert "glibc.malloc.perturb=0:glibc.malloc.hugetlb=1" in last


@pytest.mark.parametrize("kernel", ["[always] madvise never", "always madvise [never]", ""])
def test_where_the_kernel_decides_alone_the_program_runs_once(tmp_path, kernel):
    first, last = probe(tmp_path, kernel=kernel)
    assert last.startswith("goes on") and " None " in last


def test_a_user_can_leave_it_off(tmp_path):
    assert len(probe(tmp_path, GLIBC_TUNABLES="glibc.malloc.hugetlb=0")) == 2


@pytest.mark.parametrize("glibc", [(), (2, 34)])
def test_other_c_libraries_are_left_alone(glibc):
    assert host_memory.tunables_with_large_pages({}, "madvise", glibc) is None


def test_only_training_restarts(monkeypatch):
    begun = []
    monkeypatch.setattr(dispatch, "restart_with_large_pages", lambda: begun.append(sys.argv[1]))
    monkeypatch.setattr(dispatch, "run_command", lambda main: None)
    for arguments in (
        ["pretrain", "--help"],
        ["finetune_qa"],
        ["build-bitext"],
        ["evaluate-retrieval"],
        [],
        ["--help"],
    ):
        monkeypatch.setattr(sys, "argv", ["infoxlm", *arguments])
        dispatch.console_script()
    assert begun == ["pretrain", "finetune_qa"]


def test_a_debugger_stays_attached_and_a_machine_with_an_accelerator_is_left_alone(monkeypatch, tmp_path):
    device, setting = tmp_path / "accel0", tmp_path / "enabled"
    setting.write_text("always [madvise] never")
    monkeypatch.setattr(host_memory, "ACCELERATORS", (str(device),))
    monkeypatch.setattr(host_memory, "KERNEL_SETTING", setting)
    monkeypatch.setattr(host_memory, "_glibc_version", lambda: MODERN)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    begun = []
    monkeypatch.setattr(os, "execve", lambda *command: begun.append(command))
    # A debugger, or the recorder of this suite's lines, would stop it as well.
    monkeypatch.setattr(sys, "gettrace", lambda: None)
    monkeypatch.setattr(sys, "getprofile", lambda: None)
    monkeypatch.setattr(host_memory, "_is_program", lambda script: True)
    host_memory.restart_with_large_pages()
    assert len(begun) == 1
    with monkeypatch.context() as debugged:
        debugged.setattr(sys, "gettrace", lambda: print)
        host_memory.restart_with_large_pages()
    assert len(begun) == 1
    device.touch()
    host_memory.restart_with_large_pages()
    assert len(begun) == 1


def test_this_machine_is_read_without_an_error():
    assert host_memory._in_force(pathlib.Path("/nowhere")) == ""
    assert all(isinstance(number, int) for number in host_memory._glibc_version())


# As a user's program may start the command: what it says, and how it ends.
CALLER = """
import sys
print("begins", flush=True)
sys.argv = ["infoxlm", "pretrain", "--config", "nope", "--data_dir", "x", "--output_dir", "y"]
import os, pathlib
from infoxlm_keras import host_memory
from infoxlm_keras.commands.dispatch import console_script
host_memory.KERNEL_SETTING, host_memory.ACCELERATORS = pathlib.Path(os.environ["SETTING"]), ()
host_memory._glibc_version = lambda: (2, 36)
if __name__ == "__main__":
    HERE
"""
STARTS = {
    "call": "console_script()",
    "fork": "from multiprocessing import get_context\n"
    "    p = get_context('fork').Process(target=console_script)\n    p.start(); p.join(); sys.exit(p.exitcode)",
    "runpy": "import runpy; runpy.run_module('infoxlm_keras', run_name='__main__', alter_sys=True)",
    "recipe": "import runpy; del sys.argv[1]; runpy.run_path(sys.orig_argv[-1], run_name='__main__')",
}


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("read_from", ["file", "pipe"])
def test_a_program_of_somebody_else_runs_once(tmp_path, start, read_from):
    """A program that is read from a pipe would be empty the second time, and seem to succeed."""
    program, recipe = tmp_path / "theirs.py", REPOSITORY / "recipes" / "pretrain.py"
    program.write_text(CALLER.replace("HERE", STARTS[start]))
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    setting = tmp_path / "enabled"
    setting.write_text("always [madvise] never")
    environment.update(PYTHONPATH=os.pathsep.join(sys.path), SETTING=str(setting))
    command = [sys.executable, str(program) if read_from == "file" else "/dev/stdin"]
    command += [str(recipe)] if start == "recipe" else []
    text = program.read_text() if read_from == "pipe" else ""
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout.splitlines().count("begins") == 1
    assert done.returncode == 2 and "nope: no such file" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "command", [["-m", "infoxlm_keras", "pretrain"], ["recipes/pretrain.py"], ["recipes/finetune_qa.py"]]
)
def test_our_own_programs_are_restarted(command, tmp_path):
    """Each start is counted by a module that Python loads first."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "from infoxlm_keras import host_memory\n"
        "setting = pathlib.Path(__file__).with_name('enabled')\n"
        "setting.write_text('always [madvise] never')\n"
        "host_memory.KERNEL_SETTING, host_memory.ACCELERATORS = setting, ()\n"
        "host_memory._glibc_version = lambda: (2, 36)\n"
        "print('begins', os.environ.get('GLIBC_TUNABLES'), flush=True)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(REPOSITORY), *sys.path])
    done = subprocess.run(
        [sys.executable, *command, "--help"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=REPOSITORY,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    begun = [line for line in done.stdout.splitlines() if line.startswith("begins")]
    assert begun == ["begins None", "begins glibc.malloc.hugetlb=1"]
