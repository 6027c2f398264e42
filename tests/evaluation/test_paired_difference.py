"""Differences of runs, paired by seed and sentence: closed forms, and coverage on data of a known difference."""

import numpy as np
import pytest

from infoxlm_keras.evaluation import bootstrap
from infoxlm_keras.evaluation.bootstrap import bootstrap_means, paired_difference


def test_a_constant_difference_has_an_interval_of_no_width():
    first = [[np.full(4, 0.75), np.full(9, 1.0)], [np.full(4, 0.5), np.full(9, 0.75)]]
    second = [[values - 0.25 for values in seed] for seed in first]
    found = paired_difference(first, second)
    assert found == {
        "difference": 0.25,
        "lower": pytest.approx(0.25),
        "upper": pytest.approx(0.25),
        "share_above_zero": 1,
    }


def test_what_both_sides_have_in_common_cancels():
    """Sentences of very different difficulty, on which one side is always a little better."""
    generator = np.random.default_rng(0)
    hard = [[generator.random(50) * 0.9] for _ in range(3)]
    found = paired_difference([[values + 0.01 for values in seed] for seed in hard], hard)
    assert found["lower"] == pytest.approx(0.01) and found["upper"] == pytest.approx(0.01)


def test_languages_weigh_alike_and_the_order_of_sides_is_the_sign():
    first, second = [[np.ones(2), np.zeros(200)]], [[np.zeros(2), np.zeros(200)]]
    assert paired_difference(first, second)["difference"] == 0.5
    assert paired_difference(second, first)["difference"] == -0.5
    assert paired_difference(second, first)["share_above_zero"] == 0


def test_seeds_that_disagree_widen_the_interval():
    """Two seeds, +0.2 and -0.2, without noise in the sentences: the mean of a resampling is +0.2, 0 or -0.2."""
    first, second = [[np.full(30, 0.7)], [np.full(30, 0.3)]], [[np.full(30, 0.5)], [np.full(30, 0.5)]]
    found = paired_difference(first, second)
    assert found["difference"] == pytest.approx(0.0)
    assert (found["lower"], found["upper"]) == (pytest.approx(-0.2), pytest.approx(0.2))
    assert found["share_above_zero"] == pytest.approx(0.25, abs=0.05)


def test_the_interval_of_sentences_is_the_binomials():
    """One seed, 400 sentences of which 40 are found by the first side only: sd of the mean sqrt(0.1 * 0.9 / 400)."""
    first, second = [[np.r_[np.ones(40), np.zeros(360)]]], [[np.zeros(400)]]
    found = paired_difference(first, second, samples=4000)
    assert found["difference"] == pytest.approx(0.1)
    assert found["upper"] - found["lower"] == pytest.approx(2 * 1.96 * 0.015, rel=0.05)


def test_draws_in_blocks_are_the_same_draws(monkeypatch):
    credits = np.random.default_rng(3).random((2, 3, 40))
    runs = [[credits[0, 0], credits[0, 1]], [credits[0, 2], credits[1, 0]]]
    together = bootstrap_means(credits, 50), paired_difference(runs, runs[::-1], 50)
    monkeypatch.setattr(bootstrap, "DRAWS", 7 * 40 + 1)
    np.testing.assert_allclose(bootstrap_means(credits, 50), together[0], rtol=1e-12)
    assert paired_difference(runs, runs[::-1], 50) == pytest.approx(together[1], rel=1e-12)
