"""Keras' own optimizers by name and callbacks, as a user of `InfoXLMPretrainer.fit` brings them."""

import dataclasses

import keras
import numpy as np
import pytest

from infoxlm_keras import MMLM, XLCO, InfoXLMPretrainer, InputError
from tiny_pretraining import TINY_SIZE, array, assert_same, joint_batch, state, tiny_masked_lm, tiny_pretrainer

ONE_LAYER = dataclasses.replace(TINY_SIZE, num_layers=1)
BATCHES = [joint_batch(np.random.default_rng(seed), tlm=0) for seed in range(3)]


def made(**options):
    return tiny_pretrainer(
        [MMLM(), XLCO(queue_length=16, universal_layer=1)], size=ONE_LAYER, learning_rate=0.01, **options
    )


def train(pretrainer, *callbacks, epochs=2):
    batches = ((BATCHES[step % 3],) for step in range(100))
    return pretrainer.fit(batches, steps_per_epoch=2, epochs=epochs, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize("optimizer", ["adam", {"class_name": "SGD", "config": {"learning_rate": 0.5}}])
def test_an_optimizer_by_name_trains(optimizer):
    pretrainer = InfoXLMPretrainer(tiny_masked_lm(size=ONE_LAYER), [MMLM()])
    pretrainer.compile(optimizer=optimizer)
    before = [array(variable) for variable in pretrainer.trainable_variables]
    pretrainer.fit(((BATCHES[0],) for _ in range(1)), steps_per_epoch=1, verbose=0)
    assert int(pretrainer.optimizer.iterations) == 1 and isinstance(pretrainer.optimizer, keras.optimizers.Optimizer)
    after = [array(variable) for variable in pretrainer.trainable_variables]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "compile.optimizer='adamm'.: is no optimizer of Keras .*build_optimizer"),
        ({"optimizer": 17}, "compile.optimizer=17.: is no optimizer"),
        ({"optimizer": {"class_name": "Dense", "config": {"units": 3}}}, "is no optimizer"),
        ({"optimizer": None}, "training needs one"),
        ({"optimizer": "adam", "loss": "mse"}, "compile.loss=....: losses and metrics are those of the tasks"),
        ({"optimizer": "adam", "metrics": ["accuracy"]}, "compile.metrics=....: losses and metrics"),
    ],
)
def test_what_compile_cannot_use_is_refused(options, message):
    pretrainer = InfoXLMPretrainer(tiny_masked_lm(size=ONE_LAYER), [MMLM()])
    with pytest.raises(InputError, match=message):
        pretrainer.compile(**options)
    with pytest.raises(InputError, match="not compiled"):
        pretrainer.fit(((BATCHES[0],) for _ in range(1)), steps_per_epoch=1, verbose=0)


def test_checkpoints_of_the_whole_model_go_on_where_they_were_saved(tmp_path):
    path = str(tmp_path / "{epoch}.keras")
    pretrainer = made()
    train(pretrainer, keras.callbacks.ModelCheckpoint(path), epochs=2)
    loaded = keras.saving.load_model(tmp_path / "1.keras")
    # The batches of the second epoch.
    loaded.fit(((BATCHES[step % 3],) for step in (2, 3)), steps_per_epoch=2, verbose=0)
    assert_same(state(loaded), state(pretrainer))


def test_checkpoints_of_weights_hold_queue_key_encoder_and_optimizer(tmp_path):
    path = str(tmp_path / "x.weights.h5")
    pretrainer = made()
    train(pretrainer, keras.callbacks.ModelCheckpoint(path, save_weights_only=True))
    other = made(seed=9)
    assert not all(map(np.array_equal, state(pretrainer), state(other)))
    other.load_weights(path)
    assert_same(state(other), state(pretrainer))


def test_backup_and_restore_goes_on_at_the_interrupted_epoch(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    interrupted = made()
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, keras.callbacks.BackupAndRestore(str(tmp_path / "backup")), Stop(), epochs=4)
    resumed = made(seed=9)
    history = train(resumed, keras.callbacks.BackupAndRestore(str(tmp_path / "backup")), epochs=4)
    assert history.epoch == [2, 3] and int(resumed.optimizer.iterations) == 8
    # The data set begins anew: the same batches on the interrupted pretrainer, without a restart.
    train(interrupted, epochs=2)
    assert_same(state(resumed), state(interrupted))


def test_early_stopping_gives_the_best_weights_back():
    history = train(
        made(), keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True, mode="max"), epochs=5
    )
    assert 1 <= len(history.epoch) <= 5
