"""From a similarity matrix of two sentences' pieces to links between them. NumPy only.

`losses/optimal_transport.py` has the last of them for whole batches in training.

Each method is a function of a similarity matrix, float [m, n] (m source pieces, n target pieces), that returns the
links as a bool array [m, n]. Of equal similarities the first one counts.

Sources: Jalili Sabet et al. (2020), SimAlign, for mutual argmax and itermax; Chi et al. (2021), XLM-Align, for optimal
transport. Both iterated methods work on a matrix whose values <= 0 are replaced by `FLOOR`, as in XLM-Align's code.
"""

from collections.abc import Callable

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.losses.optimal_transport import FLOOR, ITERMAX_ROUNDS, LINKED_FACTOR, SINKHORN_ITERATIONS


def mutual_argmax(similarity: Array) -> Array:
    """Links (i, j) where j is the most similar target piece of i, and i the most similar source piece of j.

    Args:
        similarity: float [m, n].

    Returns:
        bool [m, n].
    """
    return _agreement(similarity, similarity)


def itermax(similarity: Array, rounds: int = ITERMAX_ROUNDS, factor: float = LINKED_FACTOR) -> Array:
    """Mutual argmax, repeated for the pieces that are not linked yet (SimAlign, section 2.3).

    In each further round a candidate is dropped if both of its pieces are linked, and its similarity is multiplied by
    `factor` if one of them is. The round's mutual argmax is added. It ends after `rounds`, when a round adds nothing,
    or when one side is completely linked. With `rounds` = 2 a piece gets at most two partners. A matrix with a side
    of two pieces or fewer is not iterated.

    Args:
        similarity: float [m, n].
        rounds: int, how often mutual argmax is taken in all.
        factor: float.

    Returns:
        bool [m, n].
    """
    similarity = positive(similarity)
    links = mutual_argmax(similarity)
    if min(similarity.shape) <= 2:
        return links
    for _ in range(rounds - 1):
        free_rows = np.logical_not(links.any(axis=1, keepdims=True))
        free_columns = np.logical_not(links.any(axis=0, keepdims=True))
        if not free_rows.any() or not free_columns.any():
            break
        free_sides = free_rows.astype(int) + free_columns
        weighted = similarity * np.minimum(1.0, factor * free_sides)
        added = mutual_argmax(weighted) & (free_sides > 0)
        if not (added & ~links).any():
            break
        links |= added
    return links


def sinkhorn(similarity: Array, iterations: int = SINKHORN_ITERATIONS) -> tuple[Array, Array]:
    """Sinkhorn's algorithm on the similarities themselves, without the exponential of the paper (XLM-Align's code).

    Args:
        similarity: float [m, n].
        iterations: int, at least 1.

    Returns:
        (by_row, by_column): float64 [m, n] each. `by_column` is the matrix after the last division by the sums of
        columns, and `by_row` is that matrix divided by the sums of its rows.
    """
    by_row = by_column = positive(similarity)
    for _ in range(iterations):
        by_column = by_row / by_row.sum(axis=0, keepdims=True)
        by_row = by_column / by_column.sum(axis=1, keepdims=True)
    return by_row, by_column


def optimal_transport(similarity: Array, iterations: int = SINKHORN_ITERATIONS) -> Array:
    """Links (i, j) where j has most of row i's mass, and i most of column j's, after `sinkhorn`.

    This is how XLM-Align's authors evaluate.

    Args:
        similarity: float [m, n].
        iterations: int, at least 1.

    Returns:
        bool [m, n].
    """
    return _agreement(*sinkhorn(similarity, iterations))


def optimal_transport_itermax(similarity: Array, iterations: int = SINKHORN_ITERATIONS) -> Array:
    """`itermax` of the transport plan: the labels with which XLM-Align trains.

    Args:
        similarity: float [m, n].
        iterations: int, at least 1.

    Returns:
        bool [m, n].
    """
    return itermax(sinkhorn(similarity, iterations)[0])


def positive(similarity: Array) -> Array:
    """`similarity` as float64, with `FLOOR` in place of values <= 0."""
    similarity = np.asarray(similarity, np.float64)
    return np.where(similarity > 0, similarity, FLOOR)


def _agreement(rows, columns):
    """Links of each row's maximum in `rows` that are also each column's maximum in `columns`."""
    links = np.zeros(rows.shape, bool)
    best_of_row, best_of_column = rows.argmax(axis=1), columns.argmax(axis=0)
    numbers = np.arange(len(best_of_row))
    mutual = best_of_column[best_of_row] == numbers
    links[numbers[mutual], best_of_row[mutual]] = True
    return links


METHODS: dict[str, Callable[[Array], Array]] = {
    "argmax": mutual_argmax,
    "itermax": itermax,
    "optimal_transport": optimal_transport,
    "optimal_transport_itermax": optimal_transport_itermax,
}
