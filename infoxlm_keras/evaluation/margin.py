"""Scores of sentence pairs that take the neighbourhood of both sentences into account. NumPy only.

With cos(x, y) and the mean cosine r of a sentence and its k nearest neighbours in the other language,
b = (r(x) + r(y)) / 2 (Artetxe and Schwenk, 2019, "Margin-based parallel corpus mining"; CSLS: Conneau et al., 2018):

    absolute    cos(x, y)              (the cosine itself)
    ratio       cos(x, y) / b
    distance    cos(x, y) - b
    csls        2 cos(x, y) - r(x) - r(y)
"""

from collections.abc import Callable

import numpy as np

from infoxlm_keras.annotations import Array

NEIGHBOURS = 4
# One tile of cosines takes 32 MiB.
QUERY_BLOCK, CANDIDATE_BLOCK = 1024, 8192

MARGINS: dict[str, Callable[[Array, Array], Array]] = {
    "absolute": lambda cosine, neighbourhood: cosine,
    "ratio": lambda cosine, neighbourhood: cosine / neighbourhood,
    "distance": lambda cosine, neighbourhood: cosine - neighbourhood,
    "csls": lambda cosine, neighbourhood: 2 * cosine - 2 * neighbourhood,
}


def margin_scores(cosines: Array, source_means: Array, target_means: Array, margin: str) -> Array:
    """Scores of pairs.

    Args:
        cosines: float, any shape.
        source_means, target_means: float, of shapes that broadcast with `cosines`: the mean cosine of the source
            sentence, and of the target sentence, and its nearest neighbours on the other side.
        margin: one of `MARGINS`.

    Returns:
        float, the broadcast shape.
    """
    return MARGINS[margin](cosines, (source_means + target_means) / 2)


def nearest_neighbours(
    queries: Array, candidates: Array, neighbours: int, candidate_block: int = CANDIDATE_BLOCK
) -> tuple[Array, Array]:
    """The nearest candidates of each query by exact search; `candidates` is read in blocks.

    Args:
        queries: float32 [n, dim], rows of unit length.
        candidates: float [m, dim], rows of unit length; it may lie on disk (`numpy.memmap`).
        neighbours: int; of fewer candidates all are given.
        candidate_block: int, rows of `candidates` in memory.

    Returns:
        (cosines, numbers): float32 and int64 [n, min(neighbours, m)], nearest first; of equal ones the lower number.
    """
    best = np.empty((len(queries), 0), np.float32)
    numbers = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(candidates), candidate_block):
        cosines = queries @ np.asarray(candidates[start : start + candidate_block], np.float32).T
        found = np.broadcast_to(np.arange(start, start + cosines.shape[1]), cosines.shape)
        best, numbers = largest(
            np.concatenate([best, cosines], axis=1), np.concatenate([numbers, found], axis=1), neighbours
        )
    return best, numbers


def largest(values: Array, numbers: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest values of each row with their numbers, largest first, of equal ones the lower number.

    Args:
        values: float [n, m].
        numbers: int [n, m].
        count: int.

    Returns:
        (values, numbers): [n, min(count, m)].
    """
    if values.shape[1] > count:
        # All that may be among the largest: equal values at the border included, of which the lower numbers are kept.
        border = -np.partition(-values, count - 1, axis=1)[:, count - 1 : count]
        most = int((values >= border).sum(axis=1).max())
        columns = np.argpartition(-values, most - 1, axis=1)[:, :most] if most < values.shape[1] else None
        if columns is not None:
            values, numbers = (np.take_along_axis(array, columns, axis=1) for array in (values, numbers))
    order = np.lexsort((numbers, -values), axis=-1)[:, :count]
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(numbers, order, axis=1)
