"""The numbers of a log interval."""

import dataclasses
import math
import time
import types

import keras
import numpy as np
import pytest

from infoxlm_keras import MMLM
from infoxlm_keras.runs.callbacks import IntervalLog
from infoxlm_keras.training.optimizer import rate_of_last_update
from tiny_pretraining import TINY_SIZE, joint_batch, tiny_pretrainer

ONE_LAYER = dataclasses.replace(TINY_SIZE, num_layers=1)
PEAK, WARMUP, STEPS = 0.01, 2, 6
# Seconds; two steps take milliseconds once they are compiled.
PAUSE = 3


def linear(update):
    return (STEPS - update) / (STEPS - WARMUP)


def cosine(update):
    return 0.1 + 0.9 * (1 - math.cos(math.pi * linear(update))) / 2


def stable(update):
    """The fall begins after update 3."""
    return 0.2 + 0.8 * min((STEPS - update) / 3, 1.0)


class Rows:
    """A recorder that keeps the rates of the rows."""

    def __init__(self):
        self.rates = {}

    def advance(self, step):
        pass

    def write(self, record):
        self.rates[record["step"]] = record["learning_rate"]


def mmlm_batch(generator):
    return joint_batch(generator, mmlm=4, tlm=0, xlco=0)


def logged(optimizer, log_every=1, batches=None, steps_per_execution=1, **options):
    """dict of step to logged rate, of a run by `fit`."""
    size = {"size": ONE_LAYER, "learning_rate": PEAK, "warmup_steps": WARMUP, "total_steps": STEPS}
    pretrainer = tiny_pretrainer([MMLM()], **size, optimizer=optimizer, **options)
    pretrainer.steps_per_execution = steps_per_execution
    generator = np.random.default_rng(0)
    batches = batches or [mmlm_batch(generator) for _ in range(STEPS)]
    rows = Rows()
    log = IntervalLog(rows, 0, STEPS, log_every, {"mmlm": 4})
    data = ((batch,) for batch in batches)
    pretrainer.fit(data, steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False, callbacks=[log])
    return rows.rates


@pytest.mark.parametrize(
    ("optimizer", "after_warmup"),
    [
        ({"schedule": "linear"}, linear),
        ({"schedule": "cosine", "final_share": 0.1}, cosine),
        ({"schedule": "stable", "final_share": 0.2, "decay_share": 0.5}, stable),
    ],
)
def test_a_row_has_the_rate_of_its_own_update(optimizer, after_warmup):
    updates = range(1, STEPS + 1)
    expected = [PEAK * update / WARMUP if update <= WARMUP else PEAK * after_warmup(update) for update in updates]
    rates = logged(optimizer, accumulation_steps=2)
    assert list(rates) == list(updates)
    np.testing.assert_allclose(list(rates.values()), expected, rtol=1e-5, atol=1e-9)


# On PyTorch, Keras runs one step at a time.
@pytest.mark.parametrize("steps_per_execution", [1] if keras.backend.backend() == "torch" else [1, 3])
def test_a_row_of_several_steps_has_the_rate_of_the_last(steps_per_execution):
    expected = {3: PEAK * linear(3), 6: 0.0}
    assert logged({}, log_every=3, steps_per_execution=steps_per_execution) == pytest.approx(
        expected, rel=1e-5, abs=1e-9
    )


def test_a_skipped_update_has_no_rate():
    batches = [mmlm_batch(np.random.default_rng(0)) for _ in range(STEPS)]
    for step in (0, 4):
        batches[step]["mmlm"]["mask_weights"][0, 0] = np.inf
    # Updates done at the end of each step: 0, 1, 2, 3, 3, 4; before the first, its own rate is meant.
    done = [1, 1, 2, 3, 3, 4]
    expected = [PEAK * min(update / WARMUP, linear(update)) for update in done]
    np.testing.assert_allclose(list(logged({}, batches=batches).values()), expected, rtol=1e-5)


def test_a_constant_rate():
    pretrainer = tiny_pretrainer([MMLM()], size=ONE_LAYER)
    pretrainer.compile(optimizer="sgd")
    assert float(rate_of_last_update(pretrainer.optimizer)) == pytest.approx(0.01)


class Pause(keras.callbacks.Callback):
    """Stands for an evaluation after the line of step 2."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            time.sleep(PAUSE)


def test_what_follows_a_line_is_not_in_the_speed_of_the_next():
    pretrainer = tiny_pretrainer([MMLM()], size=ONE_LAYER, total_steps=STEPS)
    records = []
    rows = types.SimpleNamespace(advance=lambda step: None, write=records.append)
    log = IntervalLog(rows, 0, STEPS, 2, {"mmlm": 4})
    data = ((mmlm_batch(np.random.default_rng(0)),) for _ in range(STEPS))
    pretrainer.fit(data, steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False, callbacks=[log, Pause()])
    assert [record["step"] for record in records] == [2, 4, 6]
    second = records[1]["tokens_per_step"] * 2 / records[1]["tokens_per_second"]
    assert 0 < second < PAUSE
