"""The method needs no TensorFlow: on JAX it imports and trains where importing TensorFlow fails."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

PROGRAM = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
try:
    import tensorflow
except ImportError:
    pass
else:
    raise SystemExit("TensorFlow is not blocked")

import importlib
import pkgutil

import numpy as np

import infoxlm_keras

for name in infoxlm_keras.__all__:
    getattr(infoxlm_keras, name)
# All but reading TFRecords, writing SavedModels, and the other backends' steps.
for package in ("contrast", "conversion", "evaluation", "losses", "models", "plots", "tasks", "training"):
    for module in pkgutil.iter_modules([f"{infoxlm_keras.__path__[0]}/{package}"]):
        if module.name not in ("step_tensorflow", "step_torch"):
            importlib.import_module(f"infoxlm_keras.{package}.{module.name}")
for module in ("manifest", "masking", "order", "stateless_random"):
    importlib.import_module(f"infoxlm_keras.data.{module}")

from tiny_pretraining import TWO_LAYERS, joint_batch, tiny_pretrainer
from infoxlm_keras import MMLM, XLCO

generator = np.random.default_rng(0)
pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS, jit_compile=True)
batches = ((joint_batch(generator, tlm=0),) for _ in range(3))
history = pretrainer.fit(batches, steps_per_epoch=1, epochs=2, verbose=0, shuffle=False).history
assert np.isfinite(history["loss"]).all() and history["xlco_loss"][1] > 0, history
assert int(pretrainer.optimizer.iterations.value) == 2
assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]
print("trained")
"""


@pytest.mark.slow
def test_core_trains_where_tensorflow_is_missing():
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("trained")
