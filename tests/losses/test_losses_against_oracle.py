"""Encoder, masked-LM losses, XLCO's loss and their combination against the NumPy oracle, in value and gradient."""

import math

import numpy as np
import pytest

import oracle
from infoxlm_keras import MMLM, TLM, XLCO, InputError
from infoxlm_keras.losses.combination import loss_scales
from infoxlm_keras.models import hidden_states_model
from tiny_pretraining import (
    TINY_SIZE,
    VOCABULARY_SIZE,
    array,
    gradients,
    joint_batch,
    oracle_encoder,
    oracle_head,
    pair_batch,
    tiny_pretrainer,
    total_loss,
)

TOLERANCE = 1e-5


def close(actual, expected):
    """Agreement to 1e-5 of the largest value."""
    expected = np.asarray(expected, np.float64)
    np.testing.assert_allclose(array(actual), expected, rtol=TOLERANCE, atol=TOLERANCE * np.abs(expected).max())


@pytest.fixture(scope="module")
def batch():
    return joint_batch(np.random.default_rng(3))


@pytest.fixture(scope="module")
def pretrainer():
    """All three tasks; a queue of 12 slots of which 7 are filled. Not to be trained: tests share it."""
    tasks = [MMLM(weight=0.5), TLM(), XLCO(queue_length=12, universal_layer=2, temperature=0.7, weight=2.0)]
    pretrainer = tiny_pretrainer(tasks)
    pretrainer.fill_tasks({"xlco": pair_batch(np.random.default_rng(4), 7, 8)})
    return pretrainer


def test_hidden_states(pretrainer, batch):
    inputs = {name: batch["mmlm"][name] for name in ("token_ids", "padding_mask")}
    expected = oracle.hidden_states(oracle_encoder(pretrainer.backbone), **inputs)
    actual = hidden_states_model(pretrainer.backbone)(inputs)
    assert len(actual) == len(expected) == TINY_SIZE.num_layers + 1
    for state, expected_state in zip(actual, expected, strict=True):
        close(state, expected_state)


@pytest.mark.parametrize("name", ["mmlm", "tlm"])
def test_masked_lm(pretrainer, batch, name):
    batch = batch[name]
    result = pretrainer.task(name).result(batch, training=False)
    weights = batch["mask_weights"]
    assert 0 < weights.sum() < weights.size
    parameters, head = oracle_encoder(pretrainer.backbone), oracle_head(pretrainer.masked_lm)
    close(result.loss_sum, oracle.masked_lm_loss_sum(parameters, head, batch))
    guesses = oracle.masked_lm_logits(parameters, head, batch).argmax(axis=-1)
    assert float(result.correct_sum) == ((guesses == batch["mask_ids"]) * weights).sum()
    assert float(result.count) == weights.sum()
    assert float(result.num_candidates) == VOCABULARY_SIZE == 50


def test_right_guesses_are_counted(pretrainer, batch):
    batch = dict(batch["mmlm"])
    logits = oracle.masked_lm_logits(oracle_encoder(pretrainer.backbone), oracle_head(pretrainer.masked_lm), batch)
    batch["mask_ids"] = logits.argmax(axis=-1).astype("int32")
    batch["mask_ids"][0, 0] ^= 1
    result = pretrainer.task("mmlm").result(batch, training=False)
    assert float(result.correct_sum) == batch["mask_weights"].sum() - 1


def xlco_by_oracle(task, batch, queue):
    """(queries, keys, loss sum, pooled query states) of an XLCO batch."""
    encoder = oracle_encoder(task.encoder.backbone)
    key_encoder = oracle_encoder(task.key_encoder.backbone)
    projections = [None, None]
    if task.projection:
        key_projection = task.query_projection if task.shared_projection else task.key_projection
        projections = [array(task.query_projection), array(key_projection)]
    settings = {"layer": task.universal_layer, "pooling": task.pooling, "normalize": task.normalize}
    sides = []
    for side, parameters, projection in zip(("query", "key"), (encoder, key_encoder), projections, strict=True):
        ids, mask = batch[f"{side}_token_ids"], batch[f"{side}_padding_mask"]
        sides.append(oracle.represent(parameters, projection, ids, mask, **settings))
    loss, _ = oracle.info_nce(*sides, queue, task.temperature, task.in_batch_negatives)
    return *sides, loss


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "mean", "normalize": True, "temperature": 0.2, "in_batch_negatives": True},
        {"projection": False, "pooling": "mean", "universal_layer": 1},
        {"normalize": True, "temperature": 0.05, "universal_layer": 3},
        {"projection": False, "in_batch_negatives": True},
        {"shared_projection": True, "pooling": "mean"},
    ],
)
def test_xlco(batch, settings):
    pretrainer = tiny_pretrainer([XLCO(**{"queue_length": 12, "universal_layer": 2, **settings})], seed=5)
    task = pretrainer.task("xlco")
    # Another key encoder than the query encoder, so that neither can stand in for the other.
    generator = np.random.default_rng(6)
    for key, query in task.variable_pairs():
        key.assign(array(query) + generator.normal(0, 0.1, tuple(key.shape)))
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 7, 8)})

    batch = batch["xlco"]
    result = task.result(batch, training=False)
    queue = array(task.queue.keys)[:7]
    queries, keys, loss = xlco_by_oracle(task, batch, queue)
    close(result.loss_sum, loss)
    close(task.queries(batch["query_token_ids"], batch["query_padding_mask"], training=False), queries)
    close(result.state["keys"], keys)
    assert float(result.count) == 5
    assert float(result.num_candidates) == 1 + 7 + (4 if task.in_batch_negatives else 0)

    candidates = [oracle.candidates(row, keys, queue, task.in_batch_negatives) for row in range(5)]
    negatives = [rows[1:] @ query for rows, query in zip(candidates, queries, strict=True)]
    positives = (queries * keys).sum(axis=-1)
    close(result.averages["positive_similarity"], positives.sum())
    close(result.averages["negative_similarity"], sum(row.mean() for row in negatives))
    assert float(result.correct_sum) == sum(own > row.max() for own, row in zip(positives, negatives, strict=True))


def sums_and_counts(pretrainer, batch):
    encoder, head = oracle_encoder(pretrainer.backbone), oracle_head(pretrainer.masked_lm)
    xlco = pretrainer.task("xlco")
    sums = {name: oracle.masked_lm_loss_sum(encoder, head, batch[name]) for name in ("mmlm", "tlm")}
    sums["xlco"] = xlco_by_oracle(xlco, batch["xlco"], array(xlco.queue.keys)[:7])[-1]
    counts = {name: float(batch[name]["mask_weights"].sum()) for name in ("mmlm", "tlm")}
    return sums, {**counts, "xlco": 5.0}


@pytest.mark.parametrize("rule", ["sum_of_means", "joint_count"])
def test_combined_loss(pretrainer, batch, rule):
    pretrainer.loss_combination = rule
    sums, counts = sums_and_counts(pretrainer, batch)
    weights = {"mmlm": 0.5, "tlm": 1.0, "xlco": 2.0}
    close(total_loss(pretrainer, batch), oracle.combined(sums, counts, weights, rule))


def test_rules_in_numbers():
    counts, weights = {"mmlm": 30.0, "xlco": 10.0}, {"mmlm": 1.0, "xlco": 3.0}
    means = loss_scales(counts, weights, "sum_of_means")
    assert {name: round(float(scale), 6) for name, scale in means.items()} == {"mmlm": 0.033333, "xlco": 0.3}
    joint = loss_scales(counts, weights, "joint_count")
    assert {name: round(float(scale), 6) for name, scale in joint.items()} == {"mmlm": 0.025, "xlco": 0.075}
    # A task of weight 0 is as if it were not there.
    joint = loss_scales(counts, {"mmlm": 1.0, "xlco": 0.0}, "joint_count")
    assert round(float(joint["mmlm"]), 6) == 0.033333 and float(joint["xlco"]) == 0.0
    # Nothing to predict is no division by zero.
    assert float(loss_scales({"mmlm": 0.0}, {"mmlm": 1.0}, "sum_of_means")["mmlm"]) == 1.0
    with pytest.raises(InputError, match="loss_combination = 'mean'.*sum_of_means, joint_count"):
        loss_scales(counts, weights, "mean")


@pytest.mark.parametrize("rule", ["sum_of_means", "joint_count"])
def test_gradient_is_the_oracles_slope(pretrainer, batch, rule):
    """Along random directions in the space of all weights, the gradient is the oracle's central difference."""
    pretrainer.loss_combination = rule
    variables = pretrainer.trainable_variables
    _, actual = gradients(pretrainer, lambda model: total_loss(model, batch))
    actual = [array(part) for part in actual]
    start = [array(variable) for variable in variables]
    xlco = pretrainer.task("xlco")
    queue = array(xlco.queue.keys)[:7]
    keys = xlco_by_oracle(xlco, batch["xlco"], queue)[1]
    weights = {"mmlm": 0.5, "tlm": 1.0, "xlco": 2.0}
    counts = sums_and_counts(pretrainer, batch)[1]

    def loss(step, direction):
        moved = {id(v): base + step * way for v, base, way in zip(variables, start, direction, strict=True)}
        encoder = oracle_encoder(pretrainer.backbone, lambda variable: moved[id(variable)])
        head = oracle_head(pretrainer.masked_lm, lambda variable: moved[id(variable)])
        sums = {name: oracle.masked_lm_loss_sum(encoder, head, batch[name]) for name in ("mmlm", "tlm")}
        ids, mask = batch["xlco"]["query_token_ids"], batch["xlco"]["query_padding_mask"]
        projection = moved[id(xlco.query_projection)]
        queries = oracle.represent(encoder, projection, ids, mask, 2, "cls", False)
        sums["xlco"] = oracle.info_nce(queries, keys, queue, 0.7)[0]
        return oracle.combined(sums, counts, weights, rule)

    generator = np.random.default_rng(8)
    norm = math.sqrt(sum((part**2).sum() for part in actual))
    random_direction = [generator.normal(size=base.shape) for base in start]
    # Along the gradient itself nothing cancels: a wrong part of it shows.
    for direction in (random_direction, [part / norm for part in actual]):
        step = 1e-6
        expected = (loss(step, direction) - loss(-step, direction)) / (2 * step)
        slope = sum((part * way).sum() for part, way in zip(actual, direction, strict=True))
        assert math.isclose(slope, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE * norm)


def test_mutual_information_bounds(batch):
    """log N - L in nats, with the vocabulary or the valid candidates as N."""
    pretrainer = tiny_pretrainer([MMLM(), TLM(), XLCO(queue_length=12, universal_layer=2)])
    pretrainer.fill_tasks({"xlco": pair_batch(np.random.default_rng(4), 7, 8)})
    sums, counts = sums_and_counts(pretrainer, batch)
    logs = pretrainer.test_step((batch,))
    for name, candidates in {"mmlm": 50, "tlm": 50, "xlco": 8}.items():
        mean = sums[name] / counts[name]
        close(logs[f"{name}_loss"], mean)
        bound = float(logs[f"{name}_mi_lower_bound"])
        assert math.isclose(bound, math.log(candidates) - mean, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
