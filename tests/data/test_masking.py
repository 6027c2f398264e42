"""Dynamic masking: the shares, what is never masked, and that masks depend on (key, sample index) alone."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.data.masking import Masking, mask_tokens
from infoxlm_keras.errors import InputError
from infoxlm_keras.stateless_random import random_key

VOCABULARY = 1000
MASK = VOCABULARY - 1


def sample_tokens(rows, length, seed=0):
    """int32 [rows, length]: `<s>` tokens `</s>` padding, of varied length, with ids in 3..998."""
    generator = np.random.default_rng(seed)
    token_ids = generator.integers(3, MASK, (rows, length)).astype(np.int32)
    ends = generator.integers(length // 2, length, rows)
    token_ids[np.arange(length) > ends[:, None]] = 1
    token_ids[np.arange(rows), ends] = 2
    token_ids[:, 0] = 0
    return token_ids


def mask(token_ids, first_index=0, masking=None, key=None):
    indices = tf.range(first_index, first_index + len(token_ids), dtype=tf.int64)
    key = random_key(0, "test") if key is None else key
    batch = mask_tokens(tf.constant(token_ids), indices, masking or Masking(), VOCABULARY, key)
    return {name: value.numpy() for name, value in batch.items()}


def test_shares_on_a_million_tokens():
    token_ids = sample_tokens(8500, 160)
    ordinary = token_ids > 2
    assert ordinary.sum() > 1_000_000
    batch = mask(token_ids)
    chosen = batch["mask_weights"].sum()
    assert abs(chosen / ordinary.sum() - 0.15) < 0.001

    rows = np.arange(len(token_ids))[:, None]
    shown = batch["token_ids"][rows, batch["mask_positions"]][batch["mask_weights"] == 1]
    truth = batch["mask_ids"][batch["mask_weights"] == 1]
    assert abs(np.mean(shown == MASK) - 0.8) < 0.005
    # A random piece is the true one in 1 of 995 draws.
    assert abs(np.mean(shown == truth) - (0.1 + 0.1 / 995)) < 0.005
    assert abs(np.mean((shown != MASK) & (shown != truth)) - 0.1 * 994 / 995) < 0.005


def test_labels_are_the_tokens_that_stood_there_and_nothing_else_changes():
    token_ids = sample_tokens(300, 40)
    batch = mask(token_ids)
    rows = np.broadcast_to(np.arange(300)[:, None], batch["mask_positions"].shape)
    valid = batch["mask_weights"] == 1
    assert np.array_equal(batch["mask_ids"][valid], token_ids[rows[valid], batch["mask_positions"][valid]])
    untouched = np.ones_like(token_ids, bool)
    untouched[rows[valid], batch["mask_positions"][valid]] = False
    assert np.array_equal(batch["token_ids"][untouched], token_ids[untouched])
    assert np.all(batch["mask_ids"][~valid] == 0) and np.all(batch["mask_positions"][~valid] == 0)


def test_no_position_is_chosen_twice_and_none_is_special():
    token_ids = sample_tokens(300, 40)
    batch = mask(token_ids)
    for row in range(300):
        positions = batch["mask_positions"][row][batch["mask_weights"][row] == 1]
        assert len(set(positions)) == len(positions)
        assert np.all(token_ids[row, positions] > 2)


def test_the_probability_changes_over_the_steps():
    token_ids = sample_tokens(4000, 60)
    ordinary = (token_ids > 2).sum(axis=1)
    masking = Masking(0.3, final_probability=0.1, steps=401)
    indices = tf.range(len(token_ids), dtype=tf.int64)
    batch = mask_tokens(tf.constant(token_ids), indices, masking, VOCABULARY, random_key(1, "test"), 8.0)
    assert batch["mask_positions"].shape[1] == masking.predictions(60) == 18
    shares = batch["mask_weights"].numpy().sum(axis=1) / ordinary
    # Samples 0..7 are step 0, 3200..3207 step 400, the last of the run; it stays there.
    for start, expected in ((0, 0.29), (1500, 0.2), (3200, 0.1), (3600, 0.1)):
        assert shares[start : start + 400].mean() == pytest.approx(expected, abs=0.011), start
    constant = mask(token_ids, masking=Masking(0.3), key=random_key(1, "test"))
    np.testing.assert_array_equal(constant["mask_weights"][:8], batch["mask_weights"].numpy()[:8])


def test_random_pieces_are_never_special():
    token_ids = sample_tokens(2000, 60)
    batch = mask(token_ids, masking=Masking(mask_share=0.0, random_share=1.0))
    changed = batch["token_ids"] != token_ids
    assert changed.sum() > 1000
    assert batch["token_ids"][changed].min() >= 4 and batch["token_ids"][changed].max() < MASK


def test_same_index_same_masks_other_index_others():
    token_ids = np.repeat(sample_tokens(1, 100), 50, axis=0)
    first, again, later = mask(token_ids), mask(token_ids), mask(token_ids, first_index=50)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    patterns = {tuple(row) for row in np.concatenate([first["token_ids"], later["token_ids"]])}
    assert len(patterns) == 100


def test_masks_do_not_hang_on_the_batch_around_a_sample():
    token_ids = sample_tokens(20, 64)
    whole, part = mask(token_ids), mask(token_ids[7:9], first_index=7)
    assert all(np.array_equal(whole[name][7:9], part[name]) for name in whole)


def test_a_row_of_padding_has_no_predictions():
    batch = mask(np.ones((4, 20), np.int32))
    assert batch["mask_weights"].sum() == 0 and np.all(batch["token_ids"] == 1)


@pytest.mark.parametrize(
    "settings",
    [{"probability": 0.0}, {"probability": 1.0}, {"mask_share": 0.9, "random_share": 0.2}, {"mask_share": -1}],
)
def test_settings_out_of_range(settings):
    with pytest.raises(InputError, match="masking"):
        Masking(**settings)
