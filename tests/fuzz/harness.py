"""Targets, one try of one, and the processes in which tries run."""

import dataclasses
import importlib
import json
import os
import pathlib
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from fuzz import mutations
from infoxlm_keras.errors import InputError
from repository import REPOSITORY, SUPPORT, TESTS

ERROR, SUCCESS, TRACEBACK, MISMATCH, HANG = "errors", "successes", "tracebacks", "mismatches", "hangs"
OUTCOMES = (ERROR, SUCCESS, TRACEBACK, MISMATCH, HANG)
FAILURES = (TRACEBACK, MISMATCH, HANG)
# What a try may need; a worker that needs more has believed a damaged size.
MOST_MEMORY = {False: 6 << 30, True: 24 << 30}
START_SECONDS = 180


class RefusedError(Exception):
    """Raised by a reference: the independent tool refuses this input, so whoever accepts it is wrong."""


@dataclasses.dataclass(frozen=True)
class Target:
    """Something that reads input.

    Attributes:
        name: str.
        make: callable of a directory (path) that writes the good input into it.
        read: callable of a directory that reads it: a value of plain types, equal for equal input, or `InputError`.
        reference: optional callable of a directory, what an independent tool makes of it: the value that `read` must
            give; or None, if it has no opinion; or `RefusedError`. Without one, reading twice must give the same.
        must_read: bool, `read` has to take what the reference takes.
        agrees: optional callable of (value, reference), instead of equality.
        mutate: callable of (`random.Random`, bytes) to bytes.
        files: glob pattern of the files that are damaged.
        heavy: bool, it imports Keras or TensorFlow, whose start takes seconds.
        seconds: float, the longest time for a try.
    """

    name: str
    make: callable
    read: callable
    reference: callable = None
    must_read: bool = False
    agrees: callable = None
    mutate: callable = mutations.mutate_bytes
    files: str = "**/*"
    heavy: bool = False
    seconds: float = 10.0


def attempt(target, good, seed):
    """One try, in this process.

    Args:
        target: `Target`.
        good: path of the directory with its good input.
        seed: int; None leaves the input as it is.

    Returns:
        (outcome, detail): one of `OUTCOMES`, and str.
    """
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        directory = pathlib.Path(folder, "input")
        shutil.copytree(good, directory)
        if seed is not None:
            generator = random.Random(f"{target.name} {seed}")
            path = generator.choice(sorted(path for path in directory.glob(target.files) if path.is_file()))
            path.write_bytes(target.mutate(generator, path.read_bytes()))
        try:
            value = target.read(directory)
        except InputError as error:
            if "\n" in str(error).strip():
                return TRACEBACK, f"the message has several lines: {str(error)!r}"
            return _refused(target, directory, str(error))
        except Exception:
            return TRACEBACK, _last_lines(traceback.format_exc())
        return _compare(target, directory, value)


def _refused(target, directory, message):
    if not target.must_read:
        return ERROR, message
    try:
        expected = target.reference(directory)
    except RefusedError:
        return ERROR, message
    return (MISMATCH, f"refused, though a reference reads it: {message}") if expected else (ERROR, message)


def _compare(target, directory, value):
    try:
        expected = target.reference(directory) if target.reference else None
    except RefusedError as error:
        reason = " ".join(str(error).split())
        return MISMATCH, f"accepted, though a reference refuses it: {reason[:80]}: {_short(value)}"
    if expected is None:
        try:
            expected = target.read(directory)
        except Exception as error:
            return MISMATCH, f"read once, but not again: {error!r}"
        return (SUCCESS, "") if _equal(value, expected) else (MISMATCH, "two readings differ")
    if (target.agrees or _equal)(value, expected):
        return SUCCESS, ""
    return MISMATCH, f"read {_short(value)}, a reference {_short(expected)}"


def _equal(first, second):
    # NaN is not equal to itself, its text is.
    return first == second or repr(first) == repr(second)


def _short(value):
    return repr(value)[:200]


def _last_lines(text):
    lines = text.strip().split("\n")
    places = [line.strip() for line in lines if line.lstrip().startswith("File ")]
    ours = [line for line in places if "infoxlm_keras" in line or "data_prep" in line]
    return f"{lines[-1][:300]} ({(ours or places)[-1]})"


def serve(registry):
    """A worker for the `TARGETS` of the module named `registry`.

    Reads `[name, seed]` a line from standard input; answers with an empty line once the good input is there, and with
    `[outcome, detail]`.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    targets = {target.name: target for target in importlib.import_module(registry).TARGETS}
    with tempfile.TemporaryDirectory(prefix="fuzz-good-") as folder:
        for line in sys.stdin:
            name, seed = json.loads(line)
            target, good = targets[name], pathlib.Path(folder, name)
            if not good.exists():
                good.mkdir()
                target.make(good)
                limit = MOST_MEMORY[any(targets[each.name].heavy for each in good.parent.iterdir())]
                resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
                # What is imported, and compiled, only now does not count against the first try.
                attempt(target, good, None)
            print(file=answers, flush=True)
            print(json.dumps(attempt(target, good, seed)), file=answers, flush=True)


class Worker:
    """A process that tries; one that crashes or hangs is a counted outcome, and is started again.

    Args:
        registry: str, the module with the `TARGETS`.
    """

    def __init__(self, registry="fuzz.registry"):
        self.registry, self.process = registry, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._end()

    def attempt(self, target, seed):
        """As the function `attempt`."""
        if self.process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, TESTS, SUPPORT)))}
            environment |= {"KERAS_BACKEND": "tensorflow", "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"from fuzz.harness import serve; serve({self.registry!r})"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                cwd=TESTS,
            )
        try:
            self.process.stdin.write(json.dumps([target.name, seed]).encode() + b"\n")
            self.process.stdin.flush()
            line = self._answer(START_SECONDS) and self._answer(target.seconds)
        except BrokenPipeError:
            line = b""  # it died before it could read
        if line is None:
            self._end()
            return HANG, f"no answer in {target.seconds:g} s"
        if not line:
            status = self.process.wait()
            self._end()
            reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            return TRACEBACK, f"the process died ({reason})"
        return tuple(json.loads(line))

    def _answer(self, seconds):
        """The next line; empty if the process has ended, None if it says nothing for so long.

        Time in which it waits for a busy CPU does not count.
        """
        begin, waited = time.monotonic(), self._seconds_in_queue()
        left = seconds
        while left > 0:
            if select.select([self.process.stdout], [], [], left)[0]:
                return self.process.stdout.readline()
            left = seconds + self._seconds_in_queue() - waited - (time.monotonic() - begin)
        return None

    def _seconds_in_queue(self):
        """How long Linux has let the process wait for a CPU; 0 elsewhere."""
        try:
            with open(f"/proc/{self.process.pid}/schedstat") as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def _end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what it was still to read is of no use
        self.process = None


class Account:
    """Counts of the tries of one target, and its failures, one of each kind."""

    def __init__(self):
        self.tries, self.counts, self.failures = 0, dict.fromkeys(OUTCOMES, 0), {}

    def add(self, seed, outcome, detail):
        """Adds a try; returns whether it is a failure of a kind not seen before."""
        self.tries += 1
        self.counts[outcome] += 1
        place = detail.rpartition("File ")[2] if "File " in detail else ""
        kind = (outcome, detail[:8] if outcome == MISMATCH else detail.split(":")[0], place)
        if outcome not in FAILURES or kind in self.failures:
            return False
        self.failures[kind] = (seed, outcome, detail)
        return True
