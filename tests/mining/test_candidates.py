"""Candidates, directions and thresholds against the protocol of LASER written out in loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from infoxlm_keras.evaluation.margin import MARGINS, nearest_neighbours
from infoxlm_keras.mining.candidates import DIRECTIONS, ScoredPairs, candidate_pairs
from infoxlm_keras.mining.gold import best_threshold, f1_scores, scores_at

FORMULAS = {
    "absolute": lambda a, x, y: a,
    "ratio": lambda a, x, y: a / ((x + y) / 2),
    "distance": lambda a, x, y: a - (x + y) / 2,
    "csls": lambda a, x, y: 2 * a - x - y,
}


def vectors(rows, seed):
    found = np.random.default_rng(seed).normal(size=(rows, 6)) + 0.4
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def naive_pairs(sources, targets, k, margin, direction):
    """list of (score, source, target), best first, from the whole matrix of cosines."""
    cosines = np.float64(sources @ targets.T)
    n, m = cosines.shape
    of_source = [sorted(range(m), key=lambda y, x=x: -cosines[x, y])[:k] for x in range(n)]
    of_target = [sorted(range(n), key=lambda x, y=y: -cosines[x, y])[:k] for y in range(m)]
    source_mean = [np.mean([cosines[x, y] for y in of_source[x]]) for x in range(n)]
    target_mean = [np.mean([cosines[x, y] for x in of_target[y]]) for y in range(m)]

    def score(x, y):
        return FORMULAS[margin](cosines[x, y], source_mean[x], target_mean[y])

    forward = [max((score(x, y), x, y) for y in of_source[x]) for x in range(n)]
    backward = [max((score(x, y), x, y) for x in of_target[y]) for y in range(m)]
    if direction == "forward":
        return sorted(forward, reverse=True)
    if direction == "backward":
        return sorted(backward, reverse=True)
    if direction == "intersection":
        there, back = {pair[1:] for pair in forward}, {pair[1:] for pair in backward}
        return sorted((pair for pair in forward if pair[1:] in there & back), reverse=True)
    taken, used = [], (set(), set())
    for pair in sorted(forward + backward, reverse=True):
        if pair[1] not in used[0] and pair[2] not in used[1]:
            taken.append(pair)
            used[0].add(pair[1])
            used[1].add(pair[2])
    return taken


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("sizes, k", [((40, 25), 4), ((3, 9), 4), ((5, 5), 2)])
def test_pairs_are_those_of_the_protocol(direction, margin, sizes, k):
    sources, targets = vectors(sizes[0], 0), vectors(sizes[1], 1)
    found = candidate_pairs(
        nearest_neighbours(sources, targets, k), nearest_neighbours(targets, sources, k), margin, direction
    )
    expected = naive_pairs(sources, targets, k, margin, direction)
    assert list(zip(found.sources.tolist(), found.targets.tolist(), strict=True)) == [pair[1:] for pair in expected]
    np.testing.assert_allclose(found.scores, [pair[0] for pair in expected], atol=1e-6)


SCORED = strategies.lists(
    strategies.tuples(strategies.integers(0, 6), strategies.booleans()), min_size=1, max_size=12
).map(lambda rows: sorted(rows, key=lambda row: -row[0]))


@hypothesis.given(SCORED, strategies.integers(0, 4))
def test_no_threshold_has_a_better_f1_than_the_best(rows, missing):
    """`missing` gold pairs are in no list; equal scores are taken together."""
    count = len(rows)
    pairs = ScoredPairs(np.array([float(row[0]) for row in rows]), np.arange(count), np.arange(count))
    gold = {(number, number) for number, row in enumerate(rows) if row[1]}
    gold |= {(100 + number, 0) for number in range(missing)} or {(99, 0)}
    best = scores_at(pairs, gold, best_threshold(pairs, gold))["f1"]
    every = [scores_at(pairs, gold, threshold)["f1"] for threshold in np.arange(-0.5, 7, 0.5)]
    assert best == pytest.approx(max(every))


def test_scores_by_hand():
    pairs = ScoredPairs(np.array([4.0, 3.0, 2.0, 1.0]), np.arange(4), np.array([0, 9, 2, 9]))
    gold = {(0, 0), (2, 2), (7, 7)}
    # 2 of 3 are right, and 2 of 3 are found; half of the way to the next score.
    assert best_threshold(pairs, gold) == 1.5
    assert scores_at(pairs, gold, 1.5) == {"precision": 2 / 3, "recall": 2 / 3, "f1": pytest.approx(2 / 3)}
    assert f1_scores(0, 0, 3) == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    # All are right: the score of the last one.
    assert best_threshold(ScoredPairs(np.array([2.0, 1.0]), np.arange(2), np.arange(2)), {(0, 0), (1, 1)}) == 1.0


def test_a_margin_passes_over_a_hub_that_the_cosine_takes():
    """The first target is near to every source, and nearer to the first three of them than their translations."""
    generator = np.random.default_rng(0)
    hub = np.zeros(40)
    hub[0] = 1.0
    own = generator.normal(size=(12, 40))
    own[:, 0] = 0
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    share = np.where(np.arange(12) < 3, 0.8, 0.5)[:, None]
    sources = share * hub + np.sqrt(1 - share**2) * own
    targets = np.concatenate([[hub], own])
    neighbours = [
        nearest_neighbours(np.float32(a), np.float32(b), 4) for a, b in ((sources, targets), (targets, sources))
    ]
    right = {
        margin: sum(y == x + 1 for _, x, y in zip(*candidate_pairs(*neighbours, margin, "forward"), strict=True))
        for margin in MARGINS
    }
    assert right == {"absolute": 9, "ratio": 12, "distance": 12, "csls": 12}
