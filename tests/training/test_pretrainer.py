"""What one training step does, and what it must leave alone (run eagerly on TensorFlow)."""

import numpy as np
import pytest

from infoxlm_keras import MMLM, TLM, XLCO, InfoXLMPretrainer, InputError, MomentumSchedule
from tiny_pretraining import (
    TWO_LAYERS,
    array,
    assert_same,
    gradients,
    joint_batch,
    masked_lm_batch,
    pair_batch,
    state,
    tiny_masked_lm,
    tiny_pretrainer,
    total_loss,
    values,
)

# === Order of a step ===


@pytest.mark.parametrize("accumulation_steps", [1, 3])
def test_moving_average_follows_the_updated_weights_once(accumulation_steps):
    task = XLCO(queue_length=16, momentum=0.75)
    pretrainer = tiny_pretrainer([task], learning_rate=0.05, size=TWO_LAYERS, accumulation_steps=accumulation_steps)
    pairs = task.variable_pairs()
    # 2 embeddings and a norm's 2 weights, 16 a layer for one layer, the projection.
    assert len(pairs) == 4 + 16 + 1
    generator = np.random.default_rng(2)
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 6, 8)})
    before = values(key for key, _ in pairs)
    pretrainer.train_step(({"xlco": pair_batch(generator, 3 * accumulation_steps, 8)},))
    for (key, query), old in zip(pairs, before, strict=True):
        np.testing.assert_allclose(array(key), 0.75 * old + 0.25 * array(query), rtol=1e-6, atol=1e-7)
    moved = [np.abs(array(query) - old).max() for (_, query), old in zip(pairs, before, strict=True)]
    assert np.median(moved) > 0.01


def test_a_shared_projection_has_no_average():
    task = XLCO(queue_length=8, shared_projection=True)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS)
    assert [variable.path for variable in task.weights[:1]] == ["xlco/query_projection"]
    assert len(task.variable_pairs()) == 4 + 16
    assert not any("key_projection" in variable.path for variable in pretrainer.variables)


def test_every_micro_batch_enters_the_queue_in_order():
    task = XLCO(queue_length=7, momentum=0.5)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, accumulation_steps=3)
    batch = pair_batch(np.random.default_rng(3), 6, 8)
    keys = array(task.keys(batch["key_token_ids"], batch["key_padding_mask"]))
    pretrainer.train_step(({"xlco": batch},))
    np.testing.assert_allclose(array(task.queue.keys)[:6], keys, rtol=1e-5, atol=1e-6)
    assert (int(task.queue.pointer), int(task.queue.count)) == (6, 6)
    pretrainer.train_step(({"xlco": batch},))
    assert (int(task.queue.pointer), int(task.queue.count)) == (5, 7)


def test_own_keys_are_no_negatives():
    """With an empty queue there is one candidate, the positive; the next step has the first one's keys."""
    pretrainer = tiny_pretrainer([XLCO(queue_length=20)], size=TWO_LAYERS)
    generator = np.random.default_rng(4)
    logs = pretrainer.train_step(({"xlco": pair_batch(generator, 5, 8)},))
    assert float(logs["xlco_loss"]) == float(logs["xlco_mi_lower_bound"]) == 0.0
    result = pretrainer.task("xlco").result(pair_batch(generator, 3, 8), training=False)
    assert float(result.num_candidates) == 1 + 5
    assert float(result.loss_sum) > 0


def test_enable_step():
    task = XLCO(queue_length=8, momentum=0.9, enable_step=2)
    options = {"loss_combination": "joint_count", "size": TWO_LAYERS, "learning_rate": 0.02}
    pretrainer = tiny_pretrainer([MMLM(), task], **options)
    only_masked_lm = tiny_pretrainer([MMLM()], **options)
    generator = np.random.default_rng(5)
    pairs = task.variable_pairs()
    projection = array(task.query_projection)
    for update in (1, 2):
        batch = joint_batch(generator, tlm=0)
        loss = float(total_loss(pretrainer, batch))
        assert loss == pytest.approx(float(total_loss(only_masked_lm, {"mmlm": batch["mmlm"]})), rel=1e-5)
        pretrainer.train_step((batch,))
        only_masked_lm.train_step(({"mmlm": batch["mmlm"]},))
        assert_same(*zip(*((array(key), array(query)) for key, query in pairs), strict=True))
        # Nothing but decay moves the projection.
        assert np.abs(array(task.query_projection) - projection).max() < 1e-3
        assert int(task.queue.count) == min(5 * update, 8)
    before = values(key for key, _ in pairs)
    pretrainer.train_step((joint_batch(generator, tlm=0),))
    for (key, query), old in zip(pairs, before, strict=True):
        np.testing.assert_allclose(array(key), 0.9 * old + 0.1 * array(query), rtol=1e-6, atol=1e-7)
    assert np.abs(array(task.query_projection) - projection).max() > 0.01


def test_refresh_copies_the_query_encoder():
    schedule = MomentumSchedule("constant_with_refresh", value=0.99, refresh_every=2)
    task = XLCO(queue_length=8, momentum=schedule)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, learning_rate=0.02)
    generator = np.random.default_rng(6)
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 6, 8)})
    for update in range(1, 5):
        pretrainer.train_step(({"xlco": pair_batch(generator, 4, 8)},))
        distance = max(np.abs(array(key) - array(query)).max() for key, query in task.variable_pairs())
        assert distance == 0.0 if update % 2 == 0 else distance > 1e-3


# === Accumulation and combination ===


@pytest.mark.parametrize("rule", ["sum_of_means", "joint_count"])
def test_micro_batches_are_one_batch(rule):
    """Four micro-batches of 2 and one batch of 8, with different numbers of predictions in each micro-batch."""
    generator = np.random.default_rng(11)
    batches = [{"mmlm": masked_lm_batch(generator, 8, 12), "tlm": masked_lm_batch(generator, 8, 10)} for _ in range(2)]
    options = {"size": TWO_LAYERS, "loss_combination": rule, "learning_rate": 5e-3}
    whole, parts = (tiny_pretrainer([MMLM(), TLM()], accumulation_steps=steps, **options) for steps in (1, 4))
    for batch in batches:
        assert len({part.sum() for part in np.split(batch["mmlm"]["mask_weights"], 4)}) > 1
        for pretrainer in (whole, parts):
            pretrainer.reset_metrics()
        expected, actual = whole.train_step((batch,)), parts.train_step((batch,))
        for name in ("loss", "mmlm_loss", "tlm_loss", "mmlm_mi_lower_bound", "gradient_norm"):
            assert float(actual[name]) == pytest.approx(float(expected[name]), rel=1e-5), name
    for one, other in zip(whole.trainable_variables, parts.trainable_variables, strict=True):
        # The true gradient of the attention's key bias is zero, and Adam makes steps of what rounding leaves.
        tolerance = 1e-4 if one.path.endswith("key/bias") else 1e-5
        np.testing.assert_allclose(array(one), array(other), rtol=1e-5, atol=tolerance, err_msg=one.path)


def test_the_queue_is_filled_a_micro_batch_at_a_time():
    pairs = {"xlco": pair_batch(np.random.default_rng(15), 12, 8)}
    keys = []
    for accumulation_steps, rows in ((1, 12), (4, 3)):
        task = XLCO(queue_length=16)
        pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, accumulation_steps=accumulation_steps)
        seen, encode = [], task.keys
        task.keys = lambda ids, mask, seen=seen, encode=encode: seen.append(ids.shape[0]) or encode(ids, mask)
        assert pretrainer.fill_tasks(pairs) == 12
        assert set(seen) == {rows}
        keys.append(array(task.queue.keys))
    np.testing.assert_allclose(keys[1], keys[0], rtol=1e-5, atol=1e-6)
    assert (np.abs(keys[0]).max(axis=1) > 0).sum() == 12


def test_rules_weigh_the_contrast_differently():
    """XLCO's gradient alone: with m masked tokens and p pairs, joint_count has p / (m + p) of the mean's."""
    batch = joint_batch(np.random.default_rng(12), tlm=0)
    masked = batch["mmlm"]["mask_weights"].sum()
    found = {}
    for rule in ("sum_of_means", "joint_count"):
        pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS, loss_combination=rule)
        pretrainer.fill_tasks(batch)
        _, all_gradients = gradients(pretrainer, lambda model: total_loss(model, batch))
        # Only XLCO reaches the projection.
        found[rule] = array(all_gradients[-1])
        assert pretrainer.trainable_variables[-1] is pretrainer.task("xlco").query_projection
    np.testing.assert_allclose(found["joint_count"], found["sum_of_means"] * 5 / (masked + 5), rtol=1e-4)


# === The model ===


def test_head_is_tied_to_the_embedding():
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    embeddings = pretrainer.backbone.token_embedding.embeddings
    assert sum(tuple(variable.shape) == (50, 8) for variable in pretrainer.trainable_variables) == 1
    batch = {"mmlm": masked_lm_batch(np.random.default_rng(13), 3, 10)}
    _, found = gradients(pretrainer, lambda model: total_loss(model, batch))
    index = next(i for i, v in enumerate(pretrainer.trainable_variables) if v is embeddings)
    rows = np.abs(array(found[index])).max(axis=1)
    absent = np.setdiff1d(np.arange(50), batch["mmlm"]["token_ids"])
    assert len(absent) > 10 and (rows[absent] > 0).all()


@pytest.mark.parametrize("task_class", [MMLM, TLM, XLCO])
def test_each_task_alone(task_class):
    options = {"queue_length": 8} if task_class is XLCO else {}
    task = task_class(**options)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, learning_rate=0.02)
    name = task.task_name
    generator = np.random.default_rng(14)
    batch = {name: pair_batch(generator, 6, 8) if task_class is XLCO else masked_lm_batch(generator, 6, 10)}
    if task_class is XLCO:
        # Keys of other pairs, that do not move while the loss on one batch falls.
        pretrainer.fill_tasks({name: pair_batch(generator, 8, 8)})
        task.after_backward = lambda state: None
    losses = []
    for _ in range(8):
        pretrainer.reset_metrics()
        logs = pretrainer.train_step((batch,))
        losses.append(float(logs[f"{name}_loss"]))
        assert float(logs["loss"]) == pytest.approx(losses[-1], rel=1e-6)
    assert losses[-1] < 0.8 * losses[0]
    extra = {"xlco_positive_similarity", "xlco_negative_similarity"} if task_class is XLCO else set()
    own = {f"{name}_{metric}" for metric in ("loss", "accuracy", "mi_lower_bound", "mi_lower_bound_smoothed")}
    assert set(logs) == own | extra | {"loss", "gradient_norm", "tokens_per_step", "padding_share", "tflop_per_step"}


def test_evaluation_changes_nothing():
    pretrainer = tiny_pretrainer([MMLM(), TLM(), XLCO(queue_length=8)], size=TWO_LAYERS, dropout=0.3)
    batch = joint_batch(np.random.default_rng(15))
    before = state(pretrainer)
    first = pretrainer.test_step((batch,))
    pretrainer.reset_metrics()
    second = pretrainer.test_step((batch,))
    assert_same(state(pretrainer), before)
    assert float(first["loss"]) == float(second["loss"]) > 0


def test_dropout_is_the_querys_alone():
    task = XLCO(queue_length=8)
    pretrainer = tiny_pretrainer([task], size=TWO_LAYERS, dropout=0.5)
    batch = pair_batch(np.random.default_rng(16), 4, 8)
    first, second = (task.result(batch, training=True) for _ in range(2))
    queries = [task.queries(batch["query_token_ids"], batch["query_padding_mask"], training=True) for _ in range(2)]
    assert np.abs(array(queries[0]) - array(queries[1])).max() > 0.01
    np.testing.assert_array_equal(first.state["keys"], second.state["keys"])
    assert pretrainer.task("xlco") is task and pretrainer.task("mmlm") is None


def test_padding_does_not_count():
    """More padding on the right changes no loss."""
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8, pooling="mean")], size=TWO_LAYERS)
    batch = joint_batch(np.random.default_rng(17), tlm=0)
    pretrainer.fill_tasks(batch)
    fills = {"token_ids": 1, "padding_mask": 0}
    padded = {
        task: {
            name: np.pad(tensor, ((0, 0), (0, 3)), constant_values=fills["_".join(name.split("_")[-2:])])
            if name.endswith(("token_ids", "padding_mask"))
            else tensor
            for name, tensor in tensors.items()
        }
        for task, tensors in batch.items()
    }
    assert padded["mmlm"]["token_ids"].shape[1] == batch["mmlm"]["token_ids"].shape[1] + 3
    assert float(total_loss(pretrainer, padded)) == pytest.approx(float(total_loss(pretrainer, batch)), rel=1e-5)


def test_step_metrics():
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS)
    batch = joint_batch(np.random.default_rng(18), tlm=0)
    masks = [mask for task in batch.values() for name, mask in task.items() if name.endswith("padding_mask")]
    tokens, positions = sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
    logs = pretrainer.train_step((batch,))
    assert float(logs["tokens_per_step"]) == tokens
    assert float(logs["padding_share"]) == pytest.approx(1 - tokens / positions, rel=1e-5)


# === Settings out of range ===


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (lambda: [], {}, r"tasks = \[\]: give at least one"),
        (lambda: [MMLM(), TLM(), MMLM()], {}, "tasks = .*'mmlm', 'tlm', 'mmlm'.*only once"),
        (lambda: [MMLM()], {"loss_combination": "mean"}, "'mean'.*sum_of_means, joint_count"),
        (lambda: [MMLM()], {"accumulation_steps": 0}, "accumulation_steps = 0: must be at least 1"),
        (lambda: [MMLM()], {"clip_norm": 0.0}, "clip_norm = 0.0: must be positive"),
        (lambda: [MMLM(weight=-1.0)], {}, "mmlm.weight = -1.0: must not be negative"),
        (lambda: [XLCO(weight=-0.5)], {}, "xlco.weight = -0.5: must not be negative"),
        (lambda: [XLCO(universal_layer=0)], {}, r"layer 0: .*1\.\.2"),
        (lambda: [XLCO(universal_layer=3)], {}, r"layer 3: .*1\.\.2"),
        (lambda: [XLCO(temperature=0.0)], {}, "xlco.temperature = 0.0: must be positive"),
        (lambda: [XLCO(temperature=-1.0)], {}, "xlco.temperature = -1.0: must be positive"),
        (lambda: [XLCO(pooling="median")], {}, "pooling = 'median': must be one of cls, mean"),
        (lambda: [XLCO(projection=False, shared_projection=True)], {}, "needs xlco.projection = True"),
        (lambda: [XLCO(queue_length=0)], {}, "queue_length = 0: must be at least 1"),
        (lambda: [XLCO(enable_step=-1)], {}, "xlco.enable_step = -1: must not be negative"),
        (lambda: [XLCO(momentum=1.1)], {}, r"momentum value = 1.1: must be within 0\.\.1"),
    ],
)
def test_bad_settings(tasks, options, message):
    masked_lm = tiny_masked_lm(TWO_LAYERS)
    with pytest.raises(InputError, match=message):
        InfoXLMPretrainer(masked_lm, tasks(), **options)
