"""Runs a program on JAX and a CPU in a process of its own."""

import json
import os
import subprocess
import sys

from repository import REPOSITORY


def results_of(program, **variables):
    """What the last line that `program` (str) prints holds, as JSON; `variables` are of its environment."""
    own = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)}
    environment = {**os.environ, **own, **variables}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
