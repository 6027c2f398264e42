"""Margins and exact neighbours against direct NumPy forms of their definitions."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from infoxlm_keras.evaluation.margin import MARGINS, margin_scores, nearest_neighbours


def unit(rows, dim, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)) + 0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@hypothesis.given(
    strategies.integers(1, 20), strategies.integers(1, 30), strategies.integers(1, 8), strategies.integers(1, 9)
)
def test_neighbours_in_blocks_are_those_of_the_whole_matrix(queries, candidates, neighbours, block):
    # Small integers: exact cosines, many of them equal.
    generator = np.random.default_rng(queries * 1000 + candidates)
    first, second = (generator.integers(-1, 2, (rows, 3)).astype(np.float32) for rows in (queries, candidates))
    cosines, numbers = nearest_neighbours(first, second, neighbours, block)
    matrix = first @ second.T
    order = np.array([sorted(range(candidates), key=lambda column: (-row[column], column)) for row in matrix])
    np.testing.assert_array_equal(numbers, order[:, :neighbours])
    np.testing.assert_array_equal(cosines, np.take_along_axis(matrix, numbers, axis=1))


@pytest.mark.parametrize("margin", MARGINS)
def test_margins_are_their_definitions(margin):
    sources, targets, k = unit(30, 5, 0), unit(40, 5, 1), 4
    cosines = np.float64(sources) @ np.float64(targets).T
    source_means = np.sort(cosines, axis=1)[:, -k:].mean(axis=1)
    target_means = np.sort(cosines, axis=0)[-k:].mean(axis=0)
    expected = np.empty_like(cosines)
    for x in range(30):
        for y in range(40):
            cosine, b = cosines[x, y], source_means[x] / 2 + target_means[y] / 2
            expected[x, y] = {
                "absolute": cosine,
                "ratio": cosine / b,
                "distance": cosine - b,
                "csls": 2 * cosine - source_means[x] - target_means[y],
            }[margin]
    found = [nearest_neighbours(*sides, k)[0].mean(axis=1) for sides in ((sources, targets), (targets, sources))]
    scores = margin_scores(sources @ targets.T, found[0][:, None], found[1][None], margin)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
