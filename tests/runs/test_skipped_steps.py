"""A step whose gradients are not finite changes nothing, is counted, and after too many the run ends."""

import numpy as np
import pytest

from infoxlm_keras import MMLM, XLCO, InputError
from infoxlm_keras.runs.callbacks import SkippedSteps
from infoxlm_keras.runs.callbacks.interval_log import interval_record
from infoxlm_keras.runs.callbacks.skipped_steps import drop_later_lines
from tiny_pretraining import (
    TWO_LAYERS,
    array,
    assert_same,
    masked_lm_batch,
    pair_batch,
    state,
    tiny_pretrainer,
    values,
)

BAD_POSITION = 13


def poisoned_pretrainer(**options):
    """A pretrainer whose sequences longer than 13 tokens are not finite, in query and key encoder."""
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=16)], size=TWO_LAYERS, learning_rate=0.01, **options)
    positions = pretrainer.backbone.embeddings.position_embedding.position_embeddings
    rows = array(positions)
    rows[BAD_POSITION] = np.nan
    positions.assign(rows)
    pretrainer.task("xlco").reset_key_encoder()
    return pretrainer


def batch_of_length(generator, length, size=4):
    return {"mmlm": masked_lm_batch(generator, size, length), "xlco": pair_batch(generator, size, length)}


def counters(pretrainer):
    counts = (pretrainer.skipped_steps, pretrainer.consecutive_skipped_steps, pretrainer.optimizer.iterations)
    return tuple(int(count) for count in counts)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_a_step_that_is_not_finite_is_skipped(accumulation_steps):
    pretrainer = poisoned_pretrainer(accumulation_steps=accumulation_steps)
    generator = np.random.default_rng(7)
    good, bad = batch_of_length(generator, 8), batch_of_length(generator, BAD_POSITION + 1)
    pretrainer.train_step((good,))
    assert counters(pretrainer) == (0, 0, 1)

    skip_counters = (pretrainer.skipped_steps, pretrainer.consecutive_skipped_steps)
    for skips in (1, 2):
        before = state(pretrainer)
        logs = pretrainer.train_step((bad,))
        assert counters(pretrainer) == (skips, skips, 1)
        for counter in skip_counters:
            counter.assign(skips - 1)
        assert_same(state(pretrainer), before)
        for counter in skip_counters:
            counter.assign(skips)
        assert all(np.isfinite(float(value)) for value in logs.values()), logs

    before = values(pretrainer.trainable_variables)
    logs = pretrainer.train_step((good,))
    assert counters(pretrainer) == (2, 0, 2)
    assert all(np.isfinite(float(value)) for value in logs.values())
    moved = [np.abs(new - old) for new, old in zip(values(pretrainer.trainable_variables), before, strict=True)]
    assert sum(np.nanmax(part) > 0 for part in moved) == len(moved)
    assert np.isfinite(array(pretrainer.task("xlco").queue.keys)).all()


def test_metrics_leave_out_what_is_not_finite():
    pretrainer = poisoned_pretrainer()
    generator = np.random.default_rng(8)
    logs = pretrainer.train_step((batch_of_length(generator, 8),))
    again = pretrainer.train_step((batch_of_length(generator, BAD_POSITION + 1),))
    for name in logs:
        if name not in ("tokens_per_step", "padding_share", "tflop_per_step"):
            assert float(again[name]) == float(logs[name]), name


def test_an_interval_in_which_all_is_skipped_has_no_loss_and_a_measurement_is_not_finite():
    """0 would stand there for a perfect loss."""
    pretrainer = poisoned_pretrainer()
    batch = batch_of_length(np.random.default_rng(8), BAD_POSITION + 1)
    pretrainer.reset_metrics()
    pretrainer.train_step((batch,))
    sizes = {task.task_name: 4 for task in pretrainer.tasks}
    record = interval_record(pretrainer, sizes)
    assert record["tokens_per_step"] > 0 and record["skipped_steps"] == 1
    assert not [name for name in record if name == "loss" or name.endswith(("_loss", "accuracy", "gradient_norm"))]
    measured = pretrainer.evaluate(((batch,) for _ in range(1)), steps=1, verbose=0, return_dict=True)
    assert np.isnan([measured[f"{task.task_name}_loss"] for task in pretrainer.tasks]).all()
    pretrainer.reset_metrics()
    pretrainer.train_step((batch_of_length(np.random.default_rng(8), 8),))
    assert np.isfinite(list(interval_record(pretrainer, sizes).values())).all()


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "skipped_steps.jsonl"
    path.write_text('{"first_step": 3, "last_step": 3, "skipped": 1}\n{"first_step": \n')
    with pytest.raises(InputError, match="skipped_steps.jsonl: line 2: is not a run's list of skipped steps"):
        drop_later_lines(path, 10)


def test_one_bad_task_skips_the_whole_step():
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=16)], size=TWO_LAYERS)
    batch = batch_of_length(np.random.default_rng(9), 8)
    batch["mmlm"]["mask_weights"][0, 0] = np.inf
    before = values([*pretrainer.trainable_variables, *pretrainer.task("xlco").key_encoder.weights])
    pretrainer.train_step((batch,))
    assert counters(pretrainer) == (1, 1, 0)
    assert_same(values([*pretrainer.trainable_variables, *pretrainer.task("xlco").key_encoder.weights]), before)
    assert np.isfinite(array(pretrainer.task("xlco").queue.keys)).all()


def test_many_skips_end_the_run():
    """3 skips of 7 steps are no reason; the third in a row is, right after it."""
    pretrainer = poisoned_pretrainer()
    generator = np.random.default_rng(10)
    lines = []
    callback = SkippedSteps(limit=3, start_step=99, report=lines.append)
    callback.set_model(pretrainer)
    callback.on_train_begin()

    def step(index, length):
        pretrainer.train_step((batch_of_length(generator, length, size=2),))
        callback.on_train_batch_end(index)

    bad = BAD_POSITION + 1
    for index, length in enumerate([bad, 8, bad, bad, 8, bad, bad]):
        step(index, length)
    assert [line.split(":")[0] for line in lines] == [f"step {number}" for number in (100, 102, 103, 105, 106)]
    assert "5 skipped so far" in lines[-1]
    with pytest.raises(InputError, match=r"steps 105\.\.107: .*3 times in a row.*limit 3.*learning_rate"):
        step(7, bad)
