"""Cross-lingual sentence retrieval: how often the nearest vector is that of the translation. NumPy only.

The protocol is Tatoeba's (Artetxe and Schwenk, 2019): N translation pairs; each source sentence looks for its
translation among the N target sentences by cosine, and vice versa. The score is the share of sentences whose
translation is found.

Ties: if k - 1 other candidates are as near as the translation and none is nearer, the query scores 1 / k, the expected
value of a random choice among them. An encoder that maps everything to one vector therefore scores 1 / N, and the
order of the sentences has no effect. Cosines within `TIE_TOLERANCE` are equal: float32 sums differ by about as much.

In place of the cosine a margin can order the candidates (`margin.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.margin import (
    MARGINS,
    NEIGHBOURS,
    margin_scores,
    nearest_neighbours,
    neighbourhood_means,
)

TIE_TOLERANCE = 1e-6
DIRECTIONS = ("source_to_target", "target_to_source")
COSINE = "cosine"
SIMILARITIES = (COSINE, *MARGINS)
# One tile of cosines takes 32 MiB; two boolean tiles are in memory at the same time.
QUERY_BLOCK, CANDIDATE_BLOCK = 1024, 8192


def retrieval_accuracy(
    sources: Array,
    targets: Array,
    query_block: int = QUERY_BLOCK,
    candidate_block: int = CANDIDATE_BLOCK,
    similarity: str = COSINE,
    neighbours: int = NEIGHBOURS,
) -> tuple[float, float]:
    """Accuracy of nearest-neighbour retrieval both ways; row n of `sources` translates row n of `targets`.

    Arguments and errors as of `retrieval_credits`.

    Returns:
        (source_to_target, target_to_source): floats in 0..1.
    """
    forward, backward = retrieval_credits(sources, targets, query_block, candidate_block, similarity, neighbours)
    return float(np.mean(forward)), float(np.mean(backward))


def retrieval_credits(
    sources: Array,
    targets: Array,
    query_block: int = QUERY_BLOCK,
    candidate_block: int = CANDIDATE_BLOCK,
    similarity: str = COSINE,
    neighbours: int = NEIGHBOURS,
) -> Array:
    """The credit of each query, both ways: 1 where its translation is found, 1 / k where it is one of k best.

    The matrix of cosines is computed once, for both directions, in tiles: memory grows with N, not with its square.

    Args:
        sources, targets: float [N, dim]; row n of one translates row n of the other.
        query_block, candidate_block: int, rows and columns of a tile.
        similarity: one of `SIMILARITIES`: "cosine", or a margin, which "absolute" makes the cosine again.
        neighbours: int, k of the margin.

    Returns:
        float64 [2, N]: source to target, target to source.

    Raises:
        InputError: if the shapes differ, there is no row, or a value is not finite.
    """
    if sources.shape != targets.shape or sources.ndim != 2 or not len(sources):
        raise InputError(f"vectors of shapes {sources.shape} and {targets.shape}: must be equal, [sentences, dim]")
    sources, targets = unit_rows(sources), unit_rows(targets)
    score = _scorer(sources, targets, similarity, neighbours)
    every = np.arange(len(sources))
    gold = score(np.einsum("nd,nd->n", sources, targets), every, every)
    rivals = {direction: np.zeros((2, len(gold)), np.int64) for direction in DIRECTIONS}  # (nearer, as near) a query
    for row in range(0, len(gold), query_block):
        rows = slice(row, row + query_block)
        for column in range(0, len(gold), candidate_block):
            columns = slice(column, column + candidate_block)
            scores = score(sources[rows] @ targets[columns].T, every[rows, None], every[None, columns])
            _blank_gold(scores, row, column)
            rivals["source_to_target"][:, rows] += _count(scores, gold[rows, None], axis=1)
            rivals["target_to_source"][:, columns] += _count(scores, gold[None, columns], axis=0)
    return np.stack([_credits(*rivals[direction]) for direction in DIRECTIONS])


def xsim_errors(
    sources: Array, targets: Array, margin: str = "ratio", neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """xSIM's error rate both ways (LASER): the best-scored of the k nearest neighbours is not the translation.

    Other than `retrieval_accuracy` with a margin, it looks at a query's k nearest neighbours only.

    Args:
        sources, targets: float [N, dim]; row n of one translates row n of the other.
        margin: one of `MARGINS`.
        neighbours: int, k.

    Returns:
        (source_to_target, target_to_source): floats in 0..1, lower is better.
    """
    sides = unit_rows(sources), unit_rows(targets)
    means = neighbourhood_means(*sides, neighbours)
    errors = []
    for own in (0, 1):
        found = 0
        for start in range(0, len(sources), QUERY_BLOCK):
            cosines, numbers = nearest_neighbours(sides[own][start : start + QUERY_BLOCK], sides[1 - own], neighbours)
            rows = np.arange(start, start + len(cosines))
            scores = margin_scores(cosines, means[own][rows, None], means[1 - own][numbers], margin)
            best = np.take_along_axis(numbers, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
            found += int(np.count_nonzero(best == rows))
        errors.append(1 - found / len(sources))
    return errors[0], errors[1]


def layer_accuracies(sources: Array, targets: Array) -> dict[str, list[float]]:
    """`retrieval_accuracy` of every layer.

    Args:
        sources, targets: float [layers, N, dim].

    Returns:
        {"source_to_target": [float, ...], "target_to_source": [float, ...]}, one value a layer.
    """
    scores = [retrieval_accuracy(*layer) for layer in zip(sources, targets, strict=True)]
    return {direction: [score[number] for score in scores] for number, direction in enumerate(DIRECTIONS)}


def mean_over_languages(languages: Mapping[str, Mapping[str, Any]]) -> dict[str, list[float]]:
    """The plain mean over languages, layer by layer.

    Args:
        languages: {language: {"source_to_target": [...], "target_to_source": [...], ...}}, all with the same number of
            layers.

    Returns:
        {"source_to_target": [float, ...], "target_to_source": [float, ...]}.
    """
    return {
        direction: np.mean([result[direction] for result in languages.values()], axis=0).tolist()
        for direction in DIRECTIONS
    }


def both_ways(accuracies: Mapping[str, Any]) -> list[float]:
    """The mean of the two directions, layer by layer: list of float."""
    return np.mean([accuracies[direction] for direction in DIRECTIONS], axis=0).tolist()


def best_layer(layers: Sequence[int], mean: Mapping[str, Any]) -> int:
    """The hidden state with the highest accuracy, both directions and all languages averaged; the lowest of equals.

    Args:
        layers: list of int, hidden-state indices.
        mean: result of `mean_over_languages` for these layers.
    """
    return layers[int(np.argmax(both_ways(mean)))]


def accuracy_at(result: Mapping[str, Any], layer: int, language: str | None = None) -> dict[str, float]:
    """One cell of an evaluation's result.

    Args:
        result: dict of `evaluate_retrieval`.
        layer: int, hidden-state index.
        language: str; None gives the mean over languages.

    Returns:
        {"source_to_target": float, "target_to_source": float, "average": float}.
    """
    accuracies = result["mean"] if language is None else result["languages"][language]
    index = result["layers"].index(layer)
    values = {direction: accuracies[direction][index] for direction in DIRECTIONS}
    return {**values, "average": sum(values.values()) / len(values)}


def unit_rows(vectors: Array) -> Array:
    """`vectors` [N, dim] as float32 of unit length; a zero row stays zero.

    Raises:
        InputError: if a value is not finite. (Comparisons with NaN are false, so such a row would count as a perfect
            one.)
    """
    vectors = np.asarray(vectors, np.float32)
    largest = np.max(np.abs(vectors), axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest[:, 0]))[0])
        raise InputError(
            f"the vector of sentence {row} (from 0) is not finite; the model's weights or precision are broken"
        )
    # Divided by the largest value first, since squares of large float32 values overflow.
    vectors = vectors / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1)


def _blank_gold(cosines, row, column):
    """Sets the cosines of translations in a tile that starts at (row, column) to -inf: they are no rivals."""
    start, stop = max(row, column), min(row + cosines.shape[0], column + cosines.shape[1])
    diagonal = np.arange(start, max(start, stop))
    cosines[diagonal - row, diagonal - column] = -np.inf


def _count(cosines, gold, axis):
    """int [2, queries]: how many candidates of a tile are nearer than the translation, and how many as near."""
    nearer = np.count_nonzero(cosines > gold + TIE_TOLERANCE, axis=axis)
    return np.stack([nearer, np.count_nonzero(cosines >= gold - TIE_TOLERANCE, axis=axis) - nearer])


def _credits(nearer, as_near):
    return np.where(nearer == 0, 1 / (1 + as_near), 0.0)


def _scorer(sources, targets, similarity, neighbours):
    """A function of (cosines, numbers of their sources, of their targets) that gives scores."""
    if similarity == COSINE:
        return lambda cosines, rows, columns: cosines
    source_means, target_means = neighbourhood_means(sources, targets, neighbours)
    return lambda cosines, rows, columns: margin_scores(cosines, source_means[rows], target_means[columns], similarity)
