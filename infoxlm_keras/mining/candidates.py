"""Scored pairs from the nearest neighbours of both sides. NumPy only.

The protocol is that of LASER and XTREME's BUCC: among the neighbours of a sentence the one with the highest score is
its candidate; candidates are taken from the sources (forward), from the targets (backward), from both where they agree
(intersection), or from the union of both lists by descending score, each sentence once (union_max).
"""

from typing import NamedTuple

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.evaluation.margin import margin_scores

DIRECTIONS = ("forward", "backward", "intersection", "union_max")


class ScoredPairs(NamedTuple):
    """Pairs by descending score; of equal scores the lower source number, then the lower target number, first.

    scores: float64 [pairs]; sources, targets: int64 [pairs].
    """

    scores: Array
    sources: Array
    targets: Array


def candidate_pairs(
    forward: tuple[Array, Array], backward: tuple[Array, Array], margin: str, direction: str
) -> ScoredPairs:
    """The candidate pairs of two sides.

    Args:
        forward: (cosines, numbers), float [n, k] and int [n, k]: the nearest targets of each source.
        backward: the same of each target, [m, l].
        margin: one of `infoxlm_keras.evaluation.margin.MARGINS`.
        direction: one of `DIRECTIONS`.

    Returns:
        `ScoredPairs`.
    """
    source_means = np.asarray(forward[0], np.float64).mean(axis=1, keepdims=False)
    target_means = np.asarray(backward[0], np.float64).mean(axis=1, keepdims=False)
    from_sources = _best(*forward, source_means, target_means, margin)
    targets, sources, scores = _best(*backward, target_means, source_means, margin)
    from_targets = (sources, targets, scores)
    if direction == "forward":
        return _sorted(*from_sources)
    if direction == "backward":
        return _sorted(*from_targets)
    if direction == "intersection":
        sources, targets, scores = from_sources
        agree = from_targets[0][targets] == sources
        return _sorted(sources[agree], targets[agree], scores[agree])
    union = _sorted(*(np.concatenate(both) for both in zip(from_sources, from_targets, strict=True)))
    return _each_once(union, len(forward[0]), len(backward[0]))


def _best(cosines, numbers, own_means, other_means, margin):
    """(own number, the best neighbour's number, its score) of each row; of equal scores the nearer neighbour."""
    scores = margin_scores(np.asarray(cosines, np.float64), own_means[:, None], other_means[numbers], margin)
    place = scores.argmax(axis=1)[:, None]
    best = (np.take_along_axis(array, place, axis=1)[:, 0] for array in (numbers, scores))
    return (np.arange(len(numbers)), *best)


def _sorted(sources, targets, scores):
    order = np.lexsort((targets, sources, -scores))
    return ScoredPairs(scores[order], sources[order], targets[order])


def _each_once(pairs, sources, targets):
    """Takes a pair if neither of its sentences is in a pair before it."""
    source_used, target_used = np.zeros(sources, bool), np.zeros(targets, bool)
    kept = np.zeros(len(pairs.scores), bool)
    for number, (source, target) in enumerate(zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True)):
        if not (source_used[source] or target_used[target]):
            kept[number] = source_used[source] = target_used[target] = True
    return ScoredPairs(*(array[kept] for array in pairs))
