"""Mixed precision: what stays float32, how far a slow average moves, and the loss scale of float16."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import oracle
from infoxlm_keras import DWA, MMLM, MRTD, TLM, XLCO, Distillation, InfoXLMPretrainer
from infoxlm_keras.contrast.moving_average import MovingAverage
from infoxlm_keras.training.loss_scale import next_loss_scale
from tiny_pretraining import (
    TINY_SIZE,
    TWO_LAYERS,
    array,
    joint_batch,
    pair_batch,
    tiny_masked_lm,
    tiny_pretrainer,
    values,
)

MIXED = [("mixed_bfloat16", "bfloat16"), ("mixed_float16", "float16")]


def dtype_names(variables):
    return {keras.backend.standardize_dtype(variable.dtype) for variable in variables}


def computing_layers(layer):
    """`layer` and all below it that compute something; an input layer only names a tensor."""
    return [part for part in layer._flatten_layers() if not isinstance(part, keras.layers.InputLayer)]


@pytest.mark.parametrize(("policy", "compute_dtype"), MIXED)
def test_contrast_is_float32_under_any_policy(policy, compute_dtype):
    """Its weights, keys and sums are float32; the key encoder's layers compute as the query encoder's do."""
    options = {"queue_length": 8, "universal_layer": 2, "pooling": "mean", "in_batch_negatives": True}
    mixed, full = (
        tiny_pretrainer([MMLM(), TLM(), XLCO(**options)], size=TWO_LAYERS, dtype=dtype, seed=3)
        for dtype in (policy, "float32")
    )
    task = mixed.task("xlco")
    batch = joint_batch(np.random.default_rng(0))
    assert mixed.backbone(_inputs(batch["mmlm"])).dtype == compute_dtype
    assert dtype_names(mixed.trainable_variables) == {"float32"}
    key_side = [*task.key_encoder.weights, task.key_projection, task.query_projection, task.queue.keys]
    assert dtype_names(key_side) == {"float32"}
    assert {layer.compute_dtype for layer in computing_layers(task.key_encoder.backbone)} == {compute_dtype}
    assert task.queue.compute_dtype == "float32"

    for pretrainer in (mixed, full):
        pretrainer.fill_tasks({"xlco": pair_batch(np.random.default_rng(1), 6, 8)})
    results = [pretrainer.task("xlco").result(batch["xlco"], training=True) for pretrainer in (mixed, full)]
    for value in (results[0].loss_sum, results[0].state["keys"], *results[0].averages.values()):
        assert value.dtype == "float32"
    for halves, wholes in (
        (results[0].state["keys"], results[1].state["keys"]),
        (task.queue.keys, full.task("xlco").queue.keys),
    ):
        # bfloat16 has 8 bits.
        np.testing.assert_allclose(array(halves), array(wholes), rtol=0, atol=0.02 * np.abs(array(wholes)).max())
    queries = task.queries(batch["xlco"]["query_token_ids"], batch["xlco"]["query_padding_mask"], training=True)
    assert queries.dtype == "float32"
    assert float(results[0].loss_sum) == pytest.approx(float(results[1].loss_sum), rel=0.1)


def test_policy_of_the_whole_program_changes_nothing():
    """The same when mixed precision is set globally rather than for the model."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        task = XLCO(queue_length=8)
        pretrainer = InfoXLMPretrainer(tiny_masked_lm(TWO_LAYERS, dtype=None), [MMLM(), task])
    finally:
        keras.config.set_dtype_policy(before)
    assert pretrainer.backbone.compute_dtype == "float16"
    assert pretrainer.uses_loss_scale
    assert dtype_names([*task.key_encoder.weights, *task.weights[:2], task.queue.keys]) == {"float32"}
    assert {layer.compute_dtype for layer in computing_layers(task.key_encoder.backbone)} == {"float16"}
    assert task.keys(**_side(pair_batch(np.random.default_rng(2), 3, 8), "key")).dtype == "float32"


@pytest.mark.parametrize(("policy", "compute_dtype"), MIXED)
def test_logits_beyond_half_precision(policy, compute_dtype):
    """Dot products of a million overflow float16 and lose their last digits in bfloat16."""
    task = XLCO(queue_length=8, universal_layer=2)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, dtype=policy)
    for projection in (task.query_projection, task.key_projection):
        projection.assign(array(projection) * 1000)
    pretrainer.fill_tasks({"xlco": pair_batch(np.random.default_rng(3), 6, 8)})
    batch = pair_batch(np.random.default_rng(4), 4, 8)
    result = task.result(batch, training=False)
    queries, keys = task.queries(**_side(batch, "query"), training=False), task.keys(**_side(batch, "key"))
    expected, _ = oracle.info_nce(array(queries), array(keys), array(task.queue.keys)[:6], 0.25)
    assert expected > 1e6
    assert float(result.loss_sum) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("distance", [0.03, 0.001])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_slow_average_moves_as_far_as_it_should(policy, distance, compiled):
    """1,000 updates at m = 0.9999 towards weights near by, each variable alone, within 1%, norms near 1 too."""
    task = XLCO(queue_length=4)
    tiny_pretrainer([task], size=TWO_LAYERS, dtype=policy)
    pairs = task.variable_pairs()
    generator = np.random.default_rng(5)
    for key, _ in pairs:
        if len(key.shape) > 1:
            # As small as a trained model's kernels and embeddings; gains stay near 1.
            key.assign(array(key) / 15)
    start = values(key for key, _ in pairs)
    for (_, query), value in zip(pairs, start, strict=True):
        query.assign(value + generator.normal(0, distance, value.shape))
    targets = values(query for _, query in pairs)

    def update():
        task.moving_average.update(pairs, ops.cast(0.9999, "float32"))

    update = tf.function(update, jit_compile=compiled)
    for _ in range(1000):
        update()
    for (key, _), first, target in zip(pairs, start, targets, strict=True):
        way, moved = (1 - 0.9999**1000) * (target - first), array(key) - first
        assert np.linalg.norm(moved) == pytest.approx(np.linalg.norm(way), rel=0.01), key.path
        assert np.linalg.norm(moved - way) < 0.01 * np.linalg.norm(way), key.path


def test_a_gain_of_one_moves_by_less_than_its_last_bit():
    """An update of 1e-8 is a tenth of the distance between float32 numbers near 1; a plain sum would stand still."""
    key, query = tf.Variable([1.0, 1.0]), tf.Variable([1.0001, 0.9999])
    average = MovingAverage.of([(key, query)])
    update = tf.function(lambda: average.update([(key, query)], 0.9999))
    for _ in range(500):
        update()
    moved = (array(key) - 1 + array(average.rounding_errors)) / (array(query) - 1)
    np.testing.assert_allclose(moved, 1 - 0.9999**500, rtol=1e-3)


@pytest.mark.parametrize(("policy", "compute_dtype"), MIXED)
def test_average_in_training_is_of_the_float32_weights(policy, compute_dtype):
    task = XLCO(queue_length=8, momentum=0.9999)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, dtype=policy, learning_rate=1e-3)
    pairs = task.variable_pairs()
    generator = np.random.default_rng(6)
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 6, 8)})
    before = values(key for key, _ in pairs)
    pretrainer.train_step(({"xlco": pair_batch(generator, 4, 8)},))
    assert int(pretrainer.optimizer.iterations) == 1
    ways = [array(query) - old for (_, query), old in zip(pairs, before, strict=True)]
    # 1e-4 of 1e-3 is near the last bit of a kernel's weight, so all variables together.
    moved = sum(((array(key) - old) * way).sum() for (key, _), old, way in zip(pairs, before, ways, strict=True))
    assert moved == pytest.approx(1e-4 * sum((way**2).sum() for way in ways), rel=0.05)


# === Loss scale ===


def test_loss_scale_rule():
    assert [float(part) for part in next_loss_scale(1024.0, 5, False)] == [512.0, 0]
    assert [float(part) for part in next_loss_scale(1024.0, 5, True)] == [1024.0, 6]
    assert [float(part) for part in next_loss_scale(1024.0, 1998, True)] == [1024.0, 1999]
    assert [float(part) for part in next_loss_scale(1024.0, 1999, True)] == [2048.0, 0]
    assert [float(part) for part in next_loss_scale(1.0, 5, False)] == [1.0, 0]


def test_loss_scale_halves_on_overflow_and_grows():
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS, dtype="mixed_float16")
    assert float(pretrainer.loss_scale) == 32768
    batch = joint_batch(np.random.default_rng(7), tlm=0, xlco=0)
    pretrainer.loss_scale.assign(2.0**30)
    weights = values(pretrainer.trainable_variables)
    scales = []
    while int(pretrainer.optimizer.iterations) == 0:
        assert len(scales) < 25
        for variable, value in zip(pretrainer.trainable_variables, weights, strict=True):
            np.testing.assert_array_equal(array(variable), value)
        pretrainer.train_step((batch,))
        scales.append(float(pretrainer.loss_scale))
    # Halved at every overflow, left as it is by the first finite step.
    overflows = len(scales) - 1
    assert overflows >= 3
    assert scales == [2.0 ** (29 - index) for index in range(overflows)] + [scales[-2]]
    assert int(pretrainer.skipped_steps) == overflows
    assert int(pretrainer.consecutive_skipped_steps) == 0
    assert int(pretrainer.finite_steps) == 1

    pretrainer.loss_scale.assign(8.0)
    pretrainer.finite_steps.assign(1999)
    pretrainer.train_step((batch,))
    assert (float(pretrainer.loss_scale), int(pretrainer.finite_steps)) == (16.0, 0)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_other_precisions_have_no_loss_scale(policy):
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS, dtype=policy)
    batch = joint_batch(np.random.default_rng(8), tlm=0, xlco=0)
    batch["mmlm"]["mask_weights"][0, 0] = np.inf
    pretrainer.train_step((batch,))
    assert int(pretrainer.skipped_steps) == 1
    assert float(pretrainer.loss_scale) == 1.0


def test_loss_scale_leaves_gradients_alone():
    """Norm and loss of a float16 step are those of float32, whatever the scale; clipping sees the unscaled norm."""
    batch = joint_batch(np.random.default_rng(9), tlm=0)
    logs = {}
    for dtype, scale in (("float32", 1.0), ("mixed_float16", 8.0), ("mixed_float16", 512.0)):
        pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS, dtype=dtype)
        pretrainer.fill_tasks({"xlco": pair_batch(np.random.default_rng(1), 6, 8)})
        pretrainer.loss_scale.assign(scale)
        logs[dtype, scale] = pretrainer.train_step((batch,))
    expected = logs.pop(("float32", 1.0))
    for key, actual in logs.items():
        for name in ("loss", "gradient_norm"):
            assert float(actual[name]) == pytest.approx(float(expected[name]), rel=0.02), (key, name)


def _inputs(batch):
    return {name: batch[name] for name in ("token_ids", "padding_mask")}


def _side(batch, side):
    return {name: batch[f"{side}_{name}"] for name in ("token_ids", "padding_mask")}


@pytest.mark.parametrize(("policy", "compute_dtype"), MIXED)
def test_word_alignment_and_replaced_tokens_in_half_precision(policy, compute_dtype):
    """Losses are float32 and near to those in full precision; a step is finite, and weights stay float32."""
    mixed, full = (
        tiny_pretrainer([TLM(), DWA(), MRTD()], size=TWO_LAYERS, dtype=dtype, seed=3) for dtype in (policy, "float32")
    )
    assert {layer.compute_dtype for layer in mixed.task("mrtd").generator.parts} == {compute_dtype}
    batch = joint_batch(np.random.default_rng(0), tlm=8, mrtd=8, pairs=True)
    # The same labels and draws for both: near a tie, half precision chooses others.
    batch = full.with_prepared(batch, full.prepared(batch))
    results = [
        {task.task_name: task.result(pretrainer.batch_of(task, batch), training=True) for task in pretrainer.tasks}
        for pretrainer in (mixed, full)
    ]
    for name, tolerance in (("tlm", 0.05), ("dwa", 0.05), ("mrtd", 0.2)):
        halves, wholes = (result[name] for result in results)
        assert halves.loss_sum.dtype == "float32"
        assert float(halves.loss_sum) == pytest.approx(float(wholes.loss_sum), rel=tolerance)
    generated = [result["mrtd"].further["generator"]["loss_sum"] for result in results]
    assert float(generated[0]) == pytest.approx(float(generated[1]), rel=0.05)
    if mixed.uses_loss_scale:
        # With a lambda of 50, the first steps of a run lower the scale.
        mixed.loss_scale.assign(16.0)
    logs = mixed.train_step((joint_batch(np.random.default_rng(1), tlm=8, mrtd=8, pairs=True),))
    assert all(np.isfinite(float(value)) for value in logs.values()) and int(mixed.skipped_steps.numpy()) == 0
    assert dtype_names(mixed.trainable_variables) == {"float32"}


@pytest.mark.parametrize(("policy", "compute_dtype"), MIXED)
def test_distillation_in_half_precision(policy, compute_dtype):
    """The teacher computes in it; errors are sums in float32, near to those in full precision."""
    wider = dataclasses.replace(TINY_SIZE, hidden_dim=12, num_heads=3)
    mixed, full = (
        tiny_pretrainer(
            [MMLM(), Distillation(tiny_masked_lm(wider, dtype=dtype, seed=4))], size=TWO_LAYERS, dtype=dtype, seed=3
        )
        for dtype in (policy, "float32")
    )
    tasks = [pretrainer.task("distillation") for pretrainer in (mixed, full)]
    for name in ("map_0", "map_1", "map_2"):
        getattr(tasks[0], name).assign(getattr(tasks[1], name))
    layers = [part for layer in tasks[0].teacher_states.layers for part in computing_layers(layer)]
    assert {layer.compute_dtype for layer in layers} == {compute_dtype}
    assert dtype_names(tasks[0].trainable_variables) == {"float32"}
    batch = joint_batch(np.random.default_rng(0), mmlm=8, tlm=0, xlco=0)
    halves, wholes = (task.result(batch["mmlm"], training=True) for task in tasks)
    for one, other in ((halves.loss_sum, wholes.loss_sum), (halves.averages["cosine"], wholes.averages["cosine"])):
        assert one.dtype == "float32"
        # The cosines of random maps have both signs: their sum may be near 0.
        assert float(one) == pytest.approx(float(other), rel=0.05, abs=0.01 * float(wholes.count))
    logs = mixed.train_step((batch,))
    assert all(np.isfinite(float(value)) for value in logs.values())


@pytest.mark.xla
@pytest.mark.parametrize(("dtype", "told"), [("mixed_bfloat16", True), ("float32", False)])
def test_on_a_cpu_it_is_said_that_xla_is_slow_in_bfloat16(dtype, told, capsys):
    tiny_pretrainer([MMLM()], dtype=dtype).compile(optimizer="adam", jit_compile=True)
    assert ("jit_compile: XLA computes bfloat16 products in float32" in capsys.readouterr().out) is told
