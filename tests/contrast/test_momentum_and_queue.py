"""Momentum schedules in closed form, and the queue against a ring written one key at a time."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import oracle
from infoxlm_keras import InputError, MomentumSchedule
from infoxlm_keras.contrast.queue import KeyQueue

# schedule, its settings in the oracle, {update: m}
SCHEDULES = [
    ({"value": 0.999}, {}, {1: 0.999, 77: 0.999}),
    (
        {"kind": "constant_with_refresh", "value": 0.99, "refresh_every": 3},
        {"every": 3},
        {1: 0.99, 2: 0.99, 3: 0.0, 4: 0.99, 6: 0.0},
    ),
    (
        {"kind": "linear", "value": 0.9, "final_value": 0.98, "start_step": 10, "end_step": 50},
        {"final_value": 0.98, "start": 10, "end": 50},
        {1: 0.9, 10: 0.9, 20: 0.92, 30: 0.94, 50: 0.98, 900: 0.98},
    ),
    (
        {"kind": "linear", "value": 0.9, "final_value": 0.5, "start_step": 0, "end_step": 4},
        {"final_value": 0.5, "start": 0, "end": 4},
        {1: 0.8, 2: 0.7, 4: 0.5, 5: 0.5},
    ),
    (
        {"kind": "exponential", "value": 0.3, "final_value": 0.95, "exponent": 0.5},
        {"final_value": 0.95, "exponent": 0.5},
        {1: 0.3, 4: 0.5, 25: 0.8, 100: 0.9, 10000: 0.95},
    ),
]


@pytest.mark.parametrize(("settings", "of_oracle", "expected"), SCHEDULES)
def test_schedule(settings, of_oracle, expected):
    schedule = MomentumSchedule(**settings)
    for step, momentum in expected.items():
        assert float(schedule(step)) == pytest.approx(momentum, rel=1e-6, abs=1e-7)
    for step in range(1, 130):
        momentum = oracle.momentum_at(step, schedule.kind, schedule.value, **of_oracle)
        assert float(schedule(tf.constant(step))) == pytest.approx(momentum, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cosine"}, "'cosine'.*constant_with_refresh"),
        ({"value": 1.5}, r"value = 1.5.*0\.\.1"),
        ({"value": float("nan")}, "value = nan"),
        ({"final_value": -0.1}, "final_value = -0.1"),
        ({"kind": "linear", "start_step": 5, "end_step": 5}, "end_step = 5.*start_step = 5"),
        ({"kind": "constant_with_refresh", "refresh_every": 0}, "refresh_every = 0.*at least 1"),
        ({"kind": "exponential", "exponent": 0.0}, "exponent > 0"),
        ({"kind": "exponential", "value": 0.9, "final_value": 0.5}, "final_value >= value"),
    ],
)
def test_bad_schedule(settings, message):
    with pytest.raises(InputError, match=message):
        MomentumSchedule(**settings)


def assert_equal(queue, ring):
    np.testing.assert_array_equal(queue.keys, ring.slots)
    assert (int(queue.pointer), int(queue.count)) == (ring.pointer, ring.count)
    np.testing.assert_array_equal(queue.mask(), np.arange(queue.length) < ring.count)


@hypothesis.settings(max_examples=60)
@hypothesis.given(
    length=st.integers(1, 9),
    batches=st.lists(st.tuples(st.integers(1, 21), st.booleans(), st.sampled_from([np.nan, np.inf])), max_size=6),
)
def test_any_batches_into_any_queue(length, batches):
    """Batches of any size, some with one key that is not finite; each key is its own number."""
    queue, ring, number = KeyQueue(length, 2), oracle.Queue(length, 2), 1
    for size, finite, bad in batches:
        keys = np.arange(number, number + 2 * size, dtype="float32").reshape(size, 2)
        number += 2 * size
        if not finite:
            keys[size // 2, 1] = bad
        queue.enqueue(keys)
        ring.enqueue(keys)
        assert_equal(queue, ring)


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"jit_compile": True}, marks=pytest.mark.xla),
        {"input_signature": [tf.TensorSpec([None, 2])]},
    ],
)
def test_wraps_round_in_a_graph(options):
    queue, ring = KeyQueue(7, 2), oracle.Queue(7, 2)
    enqueue = tf.function(queue.enqueue, **options)
    for step in range(5):
        keys = np.full((3, 2), step + 1, "float32") + np.arange(3, dtype="float32")[:, None] / 10
        enqueue(tf.constant(keys))
        ring.enqueue(keys)
        assert_equal(queue, ring)
    assert ring.written == 15


def test_keys_of_half_precision_are_kept_as_float32():
    queue = KeyQueue(2, 2)
    queue.enqueue(tf.constant([[1.5, 2.5]], tf.float16))
    assert queue.keys.dtype == "float32"
    np.testing.assert_array_equal(queue.keys, [[1.5, 2.5], [0.0, 0.0]])


def test_empty_queue_is_refused():
    with pytest.raises(InputError, match="queue_length = 0: must be at least 1"):
        KeyQueue(0, 4)
