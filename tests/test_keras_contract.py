"""Every public layer, model, task, metric and schedule survives `get_config` and `from_config`, on each backend."""

import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import infoxlm_keras
import keras_contract
from infoxlm_keras import MMLM, XLCO
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.head_task import HeadTask
from infoxlm_keras.training.optimizer import build_optimizer
from keras_contract import EXAMPLES, ONE_LAYER, check, check_saved, save_with_state, trained
from repository import REPOSITORY
from tiny_pretraining import assert_same, state, tiny_pretrainer

KERAS_CLASSES = (
    keras.layers.Layer,
    keras.metrics.Metric,
    keras.losses.Loss,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.initializers.Initializer,
)
ROOT = pathlib.Path(infoxlm_keras.__file__).parent
# The rooms in which a schedule is a part of the model; those of `data/` order records.
LEARNING = ("contrast", "losses", "models", "tasks", "training")


def public_classes():
    """All public classes of the package that Keras may have to describe."""
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        room, *rest = path.relative_to(ROOT).with_suffix("").parts
        if path.stem in ("__init__", "__main__"):
            continue
        name_of_module = ".".join(("infoxlm_keras", room, *rest))
        for name, kind in inspect.getmembers(importlib.import_module(name_of_module), inspect.isclass):
            if kind.__module__ != name_of_module or name.startswith("_"):
                continue
            of_keras = issubclass(kind, KERAS_CLASSES) or hasattr(kind, "get_config")
            if of_keras or (name.endswith("Schedule") and room in LEARNING):
                found.add(kind)
    return found


def test_every_public_class_has_an_example():
    found = public_classes()
    assert len(found) >= 13
    names = sorted(kind.__name__ for kind in found - set(EXAMPLES) - {HeadTask})
    assert not names, f"{names}: add an example of each to tests/support/keras_contract.py"


def test_a_head_in_training_says_how_it_is_saved():
    task = HeadTask.__new__(HeadTask)
    with pytest.raises(InputError, match="save the trained model with FineTuningHead.save"):
        task.get_config()


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_it_is_built_anew_from_its_configuration(kind):
    check(kind)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(directory of a pretrainer that each backend has saved, the pretrainer of this one)."""
    directory = tmp_path_factory.mktemp("saved")
    pretrainer = trained()
    save_with_state(pretrainer, directory)
    return directory, pretrainer


def test_a_loaded_pretrainer_goes_on_as_the_one_that_was_saved(saved):
    directory, pretrainer = saved
    loaded = check_saved(directory, "tensorflow")
    pretrainer.fit(((keras_contract.BATCH,) for _ in range(1)), steps_per_epoch=1, verbose=0, shuffle=False)
    assert_same(state(loaded), state(pretrainer))


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_contract_holds_on_other_backends_and_files_open_on_all(saved, backend):
    worker = pathlib.Path(keras_contract.__file__)
    path = os.pathsep.join(map(str, (REPOSITORY, worker.parent)))
    done = subprocess.run(
        [sys.executable, str(worker), str(saved[0])],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.isfinite(np.concatenate([value.ravel() for value in state(check_saved(saved[0], backend))])).all()


def one_step(pretrainer):
    pretrainer.fit(((keras_contract.BATCH,) for _ in range(1)), steps_per_epoch=1, verbose=0, shuffle=False)


def test_a_saved_task_takes_defaults_for_what_its_configuration_lacks():
    assert XLCO.from_config({"queue_length": 8}).momentum == XLCO().momentum


def test_a_task_object_serves_one_pretrainer():
    task = MMLM()
    tiny_pretrainer([task])
    with pytest.raises(InputError, match="mmlm task is bound to another pretrainer already"):
        tiny_pretrainer([task])


def test_the_export_of_a_pretrainer_names_the_command(saved, tmp_path):
    with pytest.raises(InputError, match="infoxlm export-savedmodel"):
        saved[1].export(tmp_path / "x")


@pytest.mark.parametrize("moment", ["before compile", "after compile"])
def test_a_partly_frozen_pretrainer_stays_frozen_and_keeps_its_optimizer(tmp_path, moment):
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=ONE_LAYER, dropout=0.0)
    pretrainer.backbone.token_embedding.trainable = False
    if moment == "before compile":
        pretrainer.compile(optimizer=build_optimizer(1e-3, 100))
    one_step(pretrainer)
    pretrainer.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    assert not loaded.backbone.token_embedding.trainable and loaded.backbone.trainable
    assert [weight.trainable for weight in loaded.weights] == [weight.trainable for weight in pretrainer.weights]
    assert_same(state(loaded), state(pretrainer))
    embeddings = np.array(loaded.backbone.token_embedding.embeddings)
    one_step(loaded)
    one_step(pretrainer)
    assert_same(state(loaded), state(pretrainer))
    np.testing.assert_array_equal(np.array(loaded.backbone.token_embedding.embeddings), embeddings)
