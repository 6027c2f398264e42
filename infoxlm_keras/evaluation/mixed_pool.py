"""Retrieval among the sentences of all languages: is the nearest one a translation, in whatever language? NumPy only.

A pool that holds all languages shows what pairs of languages hide: an encoder that puts the sentences of a language
close together finds a sentence of the query's own language before the translation (Roy et al., 2020, "LAReQA").
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.evaluation.retrieval import CANDIDATE_BLOCK, QUERY_BLOCK, TIE_TOLERANCE, unit_rows

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.pairs import PairSet


def mixed_pool_credits(
    vectors: Array,
    languages: Array,
    meanings: Array,
    query_block: int = QUERY_BLOCK,
    candidate_block: int = CANDIDATE_BLOCK,
) -> tuple[Array, Array]:
    """The credit of every sentence as a query against all others.

    Args:
        vectors: float [n, dim].
        languages: int [n], the language of each sentence.
        meanings: int [n], equal for translations of each other.
        query_block, candidate_block: int, rows and columns of a tile.

    Returns:
        (found, own_language): float64 [n] each. Of the nearest sentences, the query left out, the share that translate
        it, and the share that are of its own language. Cosines within `TIE_TOLERANCE` are equally near.
    """
    vectors = unit_rows(vectors)
    found, own_language = np.zeros(len(vectors)), np.zeros(len(vectors))
    for row in range(0, len(vectors), query_block):
        rows = np.arange(row, min(row + query_block, len(vectors)))
        nearest = np.full(len(rows), -np.inf)
        # The second pass counts what is as near as the nearest one of the first.
        counts = np.zeros((3, len(rows)))
        for counting in (False, True):
            for column in range(0, len(vectors), candidate_block):
                columns = np.arange(column, min(column + candidate_block, len(vectors)))
                cosines = vectors[rows] @ vectors[columns].T
                cosines[rows[:, None] == columns] = -np.inf
                if not counting:
                    nearest = np.maximum(nearest, cosines.max(axis=1))
                    continue
                near = cosines >= nearest[:, None] - TIE_TOLERANCE
                same_meaning = meanings[rows, None] == meanings[columns]
                same_language = languages[rows, None] == languages[columns]
                counts += [
                    np.count_nonzero(near, axis=1),
                    np.count_nonzero(near & same_meaning, axis=1),
                    np.count_nonzero(near & same_language, axis=1),
                ]
        found[rows], own_language[rows] = counts[1] / counts[0], counts[2] / counts[0]
    return found, own_language


def pool_of(pair_sets: "Sequence[PairSet]") -> tuple[list[tuple[str, str]], Array, Array]:
    """The sentences of all languages, each once.

    Args:
        pair_sets: list of `PairSet`.

    Returns:
        (sentences, places, meanings): list of (language, text); int64 [sum of sides], the place among the sentences of
        each source, then each target, of one pair set after another; int64 [sentences], the same number for
        translations of each other, directly or by way of others.
    """
    numbers: dict[tuple[str, str], int] = {}
    parents: list[int] = []
    places: list[int] = []

    def root(number):
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for pair_set in pair_sets:
        sides = []
        for language, texts in (
            (pair_set.source_language, pair_set.sources),
            (pair_set.target_language, pair_set.targets),
        ):
            side = []
            for text in texts:
                number = numbers.setdefault((language, text), len(numbers))
                if number == len(parents):
                    parents.append(number)
                side.append(number)
            sides.append(side)
        for source, target in zip(*sides, strict=True):
            parents[root(target)] = root(source)
        places += sides[0] + sides[1]
    meanings = np.array([root(number) for number in range(len(parents))], np.int64)
    return list(numbers), np.array(places, np.int64), meanings
