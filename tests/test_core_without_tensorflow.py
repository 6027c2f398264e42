"""The method needs no TensorFlow: on JAX it imports and trains where importing TensorFlow fails."""

import os
import subprocess
import sys

import pytest

from repository import REPOSITORY

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
# Reading TFRecords, SavedModels, tf.distribute and TFDS need TensorFlow; torch and Beam are slow to import.
NEED_TENSORFLOW = (
    "data.record_reader",
    "data.records",
    "data.sequences",
    "data.sharding",
    "data.streams",
    "distribution.replicas",
    "distribution.tensorflow_strategies",
    "distribution.workarounds",
    "sample_corpus.tfds_builder",
    "search.embedder",
    "serving",
    "training.step.tensorflow_step",
)
SLOW = ("building.beam", "training.step.torch_step")
for module in pkgutil.walk_packages(infoxlm_keras.__path__, "infoxlm_keras."):
    if not module.name.removeprefix("infoxlm_keras.").startswith((*NEED_TENSORFLOW, *SLOW, "__main__")):
        importlib.import_module(module.name)

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
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests' / 'support'}",
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("trained")
