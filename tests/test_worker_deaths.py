"""Workers and builders that are killed at any moment: an error within seconds, and no process left behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.worker_pool import map_in_order
from repository import REPOSITORY

SECONDS = 30
# More than a pipe holds.
LARGE = 1 << 20


def workers(process):
    """Ids of the running worker processes of a process."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            parent, state = _stat(entry) if entry.name.isdigit() else (None, None)
            if parent == process and state != "Z" and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _stat(entry):
    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[1]), fields[0]


class LargeFunction:
    """A function that takes more bytes than a pipe holds, as a tokenizer does, and what it does to itself."""

    def __init__(self, moment=None):
        self.ballast = os.urandom(LARGE)
        self.moment = moment

    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__ = state
        if self.moment == "receiving the function":
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, number):
        if self.moment == "working":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.moment == "answering":
            return KilledByPickle()
        if self.moment == "stopped by another signal":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(SECONDS)
        return number, bytes(LARGE)


class KilledByPickle:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)


def timed(function, items, processes=2):
    start = time.monotonic()
    try:
        return list(map_in_order(function, items, processes)), None
    except InputError as error:
        return None, str(error)
    finally:
        assert time.monotonic() - start < SECONDS
        assert not workers(os.getpid())


@pytest.mark.parametrize("moment", ["receiving the function", "working", "answering"])
def test_a_worker_that_is_killed_while(moment):
    _, error = timed(LargeFunction(moment), [(number,) for number in range(9)])
    assert error == "a worker process died by SIGKILL, perhaps for lack of memory; give fewer --processes"


def test_another_signal_is_named():
    _, error = timed(LargeFunction("stopped by another signal"), [(0,)])
    assert error == "a worker process died by Terminated"


def test_a_worker_that_is_killed_in_the_middle_of_a_large_answer():
    def items():
        for number in range(50):
            if number == 20:
                # Both are at work, and one of them most likely writes.
                os.kill(workers(os.getpid())[0], signal.SIGKILL)
            yield (number,)

    _, error = timed(LargeFunction(), items())
    assert "a worker process died by SIGKILL" in error


def test_workers_that_are_killed_when_all_is_done_do_not_matter():
    results = map_in_order(LargeFunction(), [(number,) for number in range(6)], 2)
    found = [next(results) for _ in range(6)]
    for worker in workers(os.getpid()):
        os.kill(worker, signal.SIGKILL)
    assert list(results) == [] and [item for item, _ in found] == [(number,) for number in range(6)]


class Unreadable(Exception):
    """Can be pickled, not read back."""

    def __init__(self, first, second):
        super().__init__(first)


def raise_unreadable(number):
    raise Unreadable("the text", number)


def raise_unpicklable(number):
    error = ValueError("the text")
    error.lock = open(os.devnull)
    raise error


@pytest.mark.parametrize("function", [raise_unreadable, raise_unpicklable])
def test_any_exception_of_a_worker_arrives(function):
    with pytest.raises(RuntimeError, match="the text"):
        list(map_in_order(function, [(1,)], 2))


def raise_with_file(number):
    open("/nowhere/at/all")


def test_an_error_of_the_system_keeps_its_file():
    with pytest.raises(FileNotFoundError) as caught:
        list(map_in_order(raise_with_file, [(1,)], 2))
    assert caught.value.filename == "/nowhere/at/all"


def builder(tmp_path, tokenizer_dir, *more):
    text = tmp_path / "de.txt"
    text.write_text("".join(f"Zeile {number} mit etwas Text darin.\n" for number in range(60_000)), encoding="utf-8")
    command = [sys.executable, "-m", "infoxlm_keras", "build-monolingual", "--input", str(text), *more]
    command += ["--tokenizer", str(tokenizer_dir), "--output_dir", str(tmp_path / "out"), "--processes", "2"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def first_workers(process):
    while process.poll() is None:
        if found := workers(process.pid):
            return found
        time.sleep(0.002)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("delay", [0, 0.1])
def test_a_builder_whose_worker_is_killed_at_its_start_ends_and_goes_on(delay, tmp_path, tokenizer_dir):
    process = builder(tmp_path, tokenizer_dir)
    victim = first_workers(process)[0]
    time.sleep(delay)
    os.kill(victim, signal.SIGKILL)
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 2 and "died by SIGKILL" in error and "run the same command again" in error
    assert error.count("\n") == 1
    again = builder(tmp_path, tokenizer_dir)
    assert again.communicate(timeout=4 * SECONDS)[1] == "" and again.returncode == 0
    assert os.listdir(tmp_path / "out") == ["mmlm"]


def test_many_file_names_do_not_keep_a_builder_waiting_for_a_dead_worker(tmp_path, tokenizer_dir):
    # The names alone are more than a pipe holds.
    (tmp_path / "many").mkdir()
    names = [tmp_path / "many" / (f"{number:04d}" + "x" * 100 + ".txt") for number in range(900)]
    for name in names:
        name.write_text("ein Haus\n")
    process = builder(tmp_path, tokenizer_dir, *(f"de={name}" for name in names))
    os.kill(first_workers(process)[0], signal.SIGKILL)
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode == 2 and "died by SIGKILL" in error


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_builder(how, tmp_path, tokenizer_dir):
    process = builder(tmp_path, tokenizer_dir)
    found = first_workers(process)
    os.kill(process.pid, how)
    _, error = process.communicate(timeout=SECONDS)
    assert process.returncode in (-how, 130)
    deadline = time.monotonic() + SECONDS
    while left := [worker for worker in found if _alive(worker)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    # A builder that is killed between the start of a worker and the worker's instructions cannot tell it; that worker
    # ends in `multiprocessing`'s own code, before any of ours. Other signals wait until a worker is started.
    told = how != signal.SIGKILL or "spawn_main" not in error
    assert "Traceback" not in error if told else error.rstrip().endswith("EOFError: Ran out of input")


def _alive(process):
    try:
        return _stat(pathlib.Path(f"/proc/{process}"))[1] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
