"""Links from similarities: closed forms, and the formulas once more in plain loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from infoxlm_keras.evaluation.alignment.methods import (
    METHODS,
    itermax,
    mutual_argmax,
    optimal_transport,
    optimal_transport_itermax,
    sinkhorn,
)
from infoxlm_keras.evaluation.alignment.scores import AlignmentCounts

# Distinct values: then no method depends on the order of equal ones.
MATRICES = strategies.tuples(strategies.integers(1, 6), strategies.integers(1, 6)).flatmap(
    lambda shape: arrays.arrays(np.float64, shape, elements=strategies.integers(-1000, 1000), unique=True)
)


def naive_mutual(rows, columns):
    """Set of (i, j): j is the place of the maximum of row i, i that of column j."""
    m, n = len(rows), len(rows[0])
    forward = {(i, max(range(n), key=lambda j: rows[i][j])) for i in range(m)}
    backward = {(max(range(m), key=lambda i: columns[i][j]), j) for j in range(n)}
    return forward & backward


def naive_itermax(matrix, rounds):
    """XLM-Align's iterated bidirectional filtering, over lists and sets."""
    m, n = len(matrix), len(matrix[0])
    links = naive_mutual(matrix, matrix)
    if min(m, n) <= 2:
        return links
    count = 1
    while count < rounds:
        u = [1 - any(i == link[0] for link in links) for i in range(m)]
        v = [1 - any(j == link[1] for link in links) for j in range(n)]
        if not any(u) or not any(v):
            break
        weighted = [[matrix[i][j] * min(1, 0.9 * u[i] + 0.9 * v[j]) for j in range(n)] for i in range(m)]
        new = {(i, j) for i, j in naive_mutual(weighted, weighted) if u[i] or v[j]} - links
        if not new:
            break
        links = links | new
        count += 1
    return links


def naive_transport(matrix, iterations):
    """(plan divided by rows last, plan divided by columns last) as lists."""
    m, n = len(matrix), len(matrix[0])
    pi = matrix
    for _ in range(iterations):
        xi = [[pi[i][j] / sum(pi[k][j] for k in range(m)) for j in range(n)] for i in range(m)]
        pi = [[xi[i][j] / sum(xi[i]) for j in range(n)] for i in range(m)]
    return pi, xi


def clipped(matrix):
    return [[value if value > 0 else 1e-6 for value in row] for row in matrix.tolist()]


def pairs(links):
    return set(zip(*(place.tolist() for place in links.nonzero()), strict=True))


@hypothesis.given(MATRICES, strategies.integers(1, 4))
def test_mutual_argmax_and_itermax_equal_their_definitions(matrix, rounds):
    assert pairs(mutual_argmax(matrix)) == naive_mutual(matrix.tolist(), matrix.tolist())
    assert pairs(itermax(matrix, rounds)) == naive_itermax(clipped(matrix), rounds)
    assert pairs(itermax(matrix, 1)) == naive_mutual(clipped(matrix), clipped(matrix))


@hypothesis.given(MATRICES, strategies.integers(1, 3))
def test_optimal_transport_equals_its_definition(matrix, iterations):
    by_row, by_column = sinkhorn(matrix, iterations)
    pi, xi = naive_transport(clipped(matrix), iterations)
    np.testing.assert_allclose(by_row, pi, rtol=1e-12)
    np.testing.assert_allclose(by_column, xi, rtol=1e-12)
    np.testing.assert_allclose(by_row.sum(axis=1), 1)
    np.testing.assert_allclose(by_column.sum(axis=0), 1)
    assert pairs(optimal_transport(matrix, iterations)) == naive_mutual(by_row.tolist(), by_column.tolist())
    assert pairs(optimal_transport_itermax(matrix, iterations)) == naive_itermax(by_row.tolist(), 2)


@pytest.mark.parametrize("method", METHODS)
def test_a_clear_matrix_is_linked_as_it_says_and_both_ways_alike(method):
    matrix = np.full((4, 4), 0.1) + np.eye(4)[[2, 0, 3, 1]]
    assert pairs(METHODS[method](matrix)) == {(0, 2), (1, 0), (2, 3), (3, 1)}
    assert pairs(METHODS[method](matrix.T)) == {(2, 0), (0, 1), (3, 2), (1, 3)}
    assert pairs(METHODS[method](np.array([[-5.0]]))) == {(0, 0)}


def test_the_second_round_gives_a_piece_a_second_partner():
    # Row 2 prefers column 0, which prefers row 0; row 2 is free, and so is column 3.
    matrix = np.array([[9.0, 1, 1, 1], [1, 9, 1, 1], [5, 1, 2, 1], [1, 1, 9, 8]])
    assert pairs(mutual_argmax(matrix)) == {(0, 0), (1, 1), (3, 2)}
    assert pairs(itermax(matrix)) == {(0, 0), (1, 1), (3, 2), (2, 0), (3, 3)}
    # With one side of two pieces nothing is added.
    assert pairs(itermax(matrix[:2])) == pairs(mutual_argmax(matrix[:2]))


def test_hand_made_links_score_exactly():
    counts = AlignmentCounts()
    links = np.zeros((4, 3), bool)
    links[[0, 1, 2], [0, 1, 1]] = True
    counts.add(links, np.array([[0, 0], [1, 2]]), np.array([[0, 0], [1, 2], [2, 1]]))
    # A = 3, S = 2, A and S = 1, A and P = 2.
    assert (counts.precision, counts.recall, counts.aer) == (2 / 3, 1 / 2, 1 - 3 / 5)
    # Pooled: the sums of both sentences, not the mean of two rates. A second one with 1 link, sure, found.
    counts.add(np.ones((1, 1), bool), np.array([[0, 0]]), np.array([[0, 0]]))
    assert (counts.precision, counts.recall, counts.aer) == (3 / 4, 2 / 3, 1 - 5 / 7)


def test_no_link_and_all_links_score_exactly():
    gold = np.array([[0, 0], [1, 1]])
    nothing, everything = AlignmentCounts(), AlignmentCounts()
    nothing.add(np.zeros((2, 2), bool), gold, gold)
    assert (nothing.precision, nothing.recall, nothing.aer) == (0.0, 0.0, 1.0)
    everything.add(np.eye(2, dtype=bool), gold, gold)
    assert (everything.precision, everything.recall, everything.aer) == (1.0, 1.0, 0.0)
