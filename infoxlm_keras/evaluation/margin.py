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
# Groups of columns whose maxima bound the nearest neighbours of a tile.
GROUPS = 256

MARGINS: dict[str, Callable[[Array, Array], Array]] = {
    "absolute": lambda cosine, neighbourhood: cosine,
    "ratio": lambda cosine, neighbourhood: cosine / neighbourhood,
    "distance": lambda cosine, neighbourhood: cosine - neighbourhood,
    "csls": lambda cosine, neighbourhood: 2 * cosine - 2 * neighbourhood,
}


def neighbourhood_means(sources: Array, targets: Array, neighbours: int = NEIGHBOURS) -> tuple[Array, Array]:
    """The mean cosine r of each sentence and its nearest neighbours on the other side.

    Args:
        sources, targets: float32 [n, dim] and [m, dim], rows of unit length.
        neighbours: int, k.

    Returns:
        (of the sources, of the targets): float64 [n] and [m].
    """
    found = []
    for queries, candidates in ((sources, targets), (targets, sources)):
        means = [
            nearest_neighbours(queries[start : start + QUERY_BLOCK], candidates, neighbours)[0].mean(
                axis=1, dtype=np.float64
            )
            for start in range(0, len(queries), QUERY_BLOCK)
        ]
        found.append(np.concatenate(means))
    return found[0], found[1]


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
    best: Array = np.empty((len(queries), 0), np.float32)
    numbers: Array = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(candidates), candidate_block):
        cosines = queries @ np.asarray(candidates[start : start + candidate_block], np.float32).T
        least = best[:, -1:] if best.shape[1] == neighbours else -np.inf
        found, columns = _at_least(cosines, np.maximum(least, _lower_bound(cosines, neighbours)))
        best = np.concatenate([best, found], axis=1)
        numbers = np.concatenate([numbers, columns + start], axis=1)
        count = min(neighbours, start + cosines.shape[1])
        order = np.lexsort((numbers, -best), axis=-1)[:, :count]
        best, numbers = np.take_along_axis(best, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return best, numbers


def _lower_bound(cosines, count):
    """float32 [n, 1]: a high value that at least `count` values of each row reach; -inf if there are fewer.

    It is the `count`-th largest of the maxima of groups of columns, which is much faster than a partition of the row.
    """
    columns = cosines.shape[1]
    groups = min(columns, max(GROUPS, 2 * count))
    if count > groups:
        return np.full((len(cosines), 1), -np.inf, np.float32)
    starts = np.linspace(0, columns, groups, endpoint=False).astype(np.int64)
    maxima = np.maximum.reduceat(cosines, starts, axis=1)
    return np.partition(maxima, groups - count, axis=1)[:, groups - count, None]


def _at_least(cosines, bounds):
    """The values of each row that reach its bound (float [n, 1]), padded with -inf, and their columns, int64."""
    rows, columns = np.nonzero(cosines >= bounds)
    counts = np.bincount(rows, minlength=len(cosines))
    places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(cosines), int(counts.max(initial=0)))
    values, numbers = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
    values[rows, places], numbers[rows, places] = cosines[rows, columns], columns
    return values, numbers
