"""InfoNCE, its gradients, the moving average and the queue's contents over training, against the NumPy oracle."""

import math

import numpy as np
import pytest
import tensorflow as tf

import oracle
from infoxlm_keras import MMLM, XLCO
from infoxlm_keras.contrast.moving_average import MovingAverage
from infoxlm_keras.losses.info_nce import info_nce
from tiny_pretraining import (
    TWO_LAYERS,
    array,
    gradients,
    joint_batch,
    oracle_encoder,
    pair_batch,
    tiny_pretrainer,
    values,
)

TOLERANCE = 1e-5


def close(actual, expected):
    """Agreement to 1e-5 of the largest value."""
    expected = np.asarray(expected, np.float64)
    np.testing.assert_allclose(array(actual), expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


def vectors(seed, *counts, dim=6):
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 1, (count, dim)).astype("float32") for count in counts]


@pytest.mark.parametrize("in_batch_negatives", [False, True])
@pytest.mark.parametrize("filled", [0, 5, 9])
@pytest.mark.parametrize("temperature", [0.05, 0.25, 1.0])
def test_info_nce_and_its_gradient(filled, in_batch_negatives, temperature):
    queries, keys, queue = map(tf.constant, vectors(1, 4, 4, 9))
    mask = np.arange(9) < filled
    with tf.GradientTape() as tape:
        tape.watch([queries, keys, queue])
        result = info_nce(queries, keys, queue, mask, temperature, in_batch_negatives)
    to_queries, to_keys, to_queue = tape.gradient(result.loss_sum, [queries, keys, queue])
    # The gradient is the candidates' own scale / temperature, though the loss of an easy batch may be near 0.
    arrays = (array(queries), array(keys), array(queue)[:filled])
    loss, gradient = oracle.info_nce(*arrays, temperature, in_batch_negatives)
    assert math.isclose(float(result.loss_sum), loss, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    np.testing.assert_allclose(to_queries, gradient, rtol=TOLERANCE, atol=TOLERANCE / temperature)
    assert to_keys is None and to_queue is None
    assert float(result.num_candidates) == 1 + filled + 3 * in_batch_negatives


def test_info_nce_by_hand():
    """Two queries, two negatives in the queue, temperature 1/2: logits 2, 0, -2 and 4, 2, 0."""
    queries = np.array([[1.0, 0.0], [2.0, 1.0]], "float32")
    keys = np.array([[1.0, 5.0], [1.0, 0.0]], "float32")
    queue = np.array([[0.0, 1.0], [-1.0, 2.0], [99.0, 99.0]], "float32")
    result = info_nce(queries, keys, queue, np.array([True, True, False]), 0.5)
    first = math.log(math.exp(2) + math.exp(0) + math.exp(-2)) - 2
    second = math.log(math.exp(4) + math.exp(2) + math.exp(0)) - 4
    assert math.isclose(float(result.loss_sum), first + second, rel_tol=1e-5)
    assert float(result.correct_sum) == 2
    assert float(result.num_candidates) == 3
    assert float(result.positive_similarity_sum) == 1 + 2
    assert float(result.negative_similarity_sum) == (0 - 1) / 2 + (1 + 0) / 2


def test_equal_candidates_are_no_success():
    ones = np.ones((3, 4), "float32")
    result = info_nce(ones, ones, ones, np.ones(3, bool), 0.25)
    assert float(result.correct_sum) == 0
    assert math.isclose(float(result.loss_sum), 3 * math.log(4), rel_tol=1e-6)


def test_large_logits_stay_finite():
    queries, keys, queue = (100 * part for part in vectors(2, 3, 3, 5))
    result = info_nce(queries, keys, queue, np.ones(5, bool), 0.01)
    expected, _ = oracle.info_nce(*(part.astype(float) for part in (queries, keys, queue)), 0.01)
    assert expected > 1e4
    close(result.loss_sum, expected)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("in_batch_negatives", [False, True])
@pytest.mark.parametrize("shared_projection", [False, True])
def test_gradient_of_the_projection(normalize, in_batch_negatives, shared_projection):
    """Through the queries alone, even where the keys take the same projection."""
    settings = {"universal_layer": 2, "pooling": "mean", "temperature": 0.3, "shared_projection": shared_projection}
    task = XLCO(queue_length=9, normalize=normalize, in_batch_negatives=in_batch_negatives, **settings)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS)
    generator = np.random.default_rng(3)
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 6, 8)})
    batch = pair_batch(generator, 4, 8)

    _, actual = gradients(pretrainer, lambda _: task.result(batch, training=False).loss_sum)
    actual = next(g for g, v in zip(actual, pretrainer.trainable_variables, strict=True) if v is task.query_projection)
    ids, mask = batch["query_token_ids"], batch["query_padding_mask"]
    pooled = oracle.pooled(oracle.hidden_states(oracle_encoder(pretrainer.backbone), ids, mask)[2], mask, "mean")
    keys = array(task.keys(batch["key_token_ids"], batch["key_padding_mask"]))
    queue = array(task.queue.keys)[:6]
    projection = array(task.query_projection)
    close(actual, oracle.projection_gradient(pooled, projection, keys, queue, 0.3, in_batch_negatives, normalize))


def test_moving_average_of_numbers():
    """Five updates at m = 0.9 of a key at 1 and a query at 0, and one with m = 1 and m = 0."""
    key, query = tf.Variable([1.0, 1.0]), tf.Variable([0.0, 3.0])
    average = MovingAverage.of([(key, query)])
    for update in range(1, 6):
        average.update([(key, query)], 0.9)
        np.testing.assert_allclose(key, [0.9**update, 3 - 2 * 0.9**update], rtol=1e-6)
    before = key.numpy()
    average.update([(key, query)], 1.0)
    np.testing.assert_array_equal(key, before)
    average.update([(key, query)], 0.0)
    np.testing.assert_array_equal(key, query)
    np.testing.assert_array_equal(average.rounding_errors, 0.0)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_five_steps_of_training(accumulation_steps):
    """Key encoder and queue after every step, from the query encoder's weights and the batches alone.

    10 slots and 4 keys a micro-batch: the queue wraps round and does not divide. The keys of a step come from the key
    encoder as it was before that step.
    """
    task = XLCO(queue_length=10, universal_layer=1, pooling="mean", momentum=0.8)
    options = {"size": TWO_LAYERS, "accumulation_steps": accumulation_steps}
    pretrainer = tiny_pretrainer([MMLM(), task], learning_rate=0.02, **options)
    generator = np.random.default_rng(9)
    pairs = task.variable_pairs()
    average = values(key for key, _ in pairs)
    queue = oracle.Queue(10, 8)
    for _ in range(5):
        size = 4 * accumulation_steps
        batch = joint_batch(generator, mmlm=2 * accumulation_steps, tlm=0, xlco=size)
        by_variable = {id(key): value for (key, _), value in zip(pairs, average, strict=True)}
        parameters = oracle_encoder(task.key_encoder.backbone, lambda variable: by_variable[id(variable)])  # noqa: B023
        ids, mask = batch["xlco"]["key_token_ids"], batch["xlco"]["key_padding_mask"]
        keys = oracle.represent(parameters, by_variable[id(task.key_projection)], ids, mask, 1, "mean", False)
        for start in range(0, size, 4):
            queue.enqueue(keys[start : start + 4])

        before = values(query for _, query in pairs)
        pretrainer.train_step((batch,))
        after = values(query for _, query in pairs)
        assert max(np.abs(a - b).max() for a, b in zip(after, before, strict=True)) > 1e-3
        average = [oracle.moving_average(key, query, 0.8) for key, query in zip(average, after, strict=True)]
        for (key, _), expected in zip(pairs, average, strict=True):
            close(key, expected)
        close(task.queue.keys, queue.slots)
        assert (int(task.queue.pointer), int(task.queue.count)) == (queue.pointer, queue.count)
    assert queue.written > 10 and queue.pointer != 4
