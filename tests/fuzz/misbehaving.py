"""Targets that fail in every way, to see that the harness counts it."""

import os
import signal
import time

from fuzz.harness import RefusedError, Target
from infoxlm_keras.errors import InputError


def make(directory):
    (directory / "file").write_bytes(b"good")


def do(action):
    return lambda directory: action()


def hang_unless_good(directory):
    if (directory / "file").read_bytes() != b"good":
        time.sleep(60)


def refuse():
    raise RefusedError("damaged")


def wrong():
    raise InputError("wrong")


class SeveralLinesError(InputError):
    """What `InputError` itself prevents."""

    def __str__(self):
        return "a\nb"


def several_lines():
    raise SeveralLinesError("")


TARGETS = [
    Target("crash", make, do(lambda: os.kill(os.getpid(), signal.SIGSEGV))),
    Target("hang", make, hang_unless_good, seconds=0.5),
    Target("traceback", make, do(lambda: {}["key"])),
    Target("memory", make, do(lambda: bytearray(1 << 40))),
    Target("error", make, do(wrong)),
    Target("several lines", make, do(several_lines)),
    Target("success", make, lambda directory: (directory / "file").read_bytes()),
    Target("accepts too much", make, do(lambda: 1), do(refuse)),
    Target("accepts too little", make, do(wrong), do(lambda: 1), must_read=True),
    Target("differs", make, do(lambda: 1), do(lambda: 2)),
    Target("unsteady", make, do(time.perf_counter)),
]
