"""Retrieval where a query may have several right documents, and a document several queries. NumPy only.

Each text counts once. A query finds a right document if the nearest one is right; the other right ones are no rivals.
Ties count as in `retrieval.py`: if k - 1 wrong documents are as near as the nearest right one, the query scores 1 / k.
Where all texts differ, the scores are those of `retrieval_accuracy`.
"""

from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import QUERY_BLOCK, TIE_TOLERANCE, unit_rows


def sample_retrieval(
    queries: Array, documents: Array, query_texts: Sequence[str], document_texts: Sequence[str]
) -> tuple[float, float]:
    """How often the nearest vector is that of a right text, both ways.

    Args:
        queries, documents: float [samples, dim]; document i is right for query i.
        query_texts, document_texts: list of str [samples], by which equal ones are known.

    Returns:
        (query to document, document to query): floats in 0..1, means over different texts.

    Raises:
        InputError: for no sample, or a vector that is not finite.
    """
    if not len(query_texts):
        raise InputError("there is no sample whose retrieval could be measured")
    rows, columns = _numbers(query_texts), _numbers(document_texts)
    first_rows, first_columns = (np.unique(numbers, return_index=True)[1] for numbers in (rows, columns))
    sides = unit_rows(queries[first_rows]), unit_rows(documents[first_columns])
    forward = _credits(*sides, rows, columns)
    backward = _credits(sides[1], sides[0], columns, rows)
    return float(np.mean(forward)), float(np.mean(backward))


def _numbers(texts):
    """int [texts], equal for equal texts, 0, 1, ... in the order in which they come."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(text, len(known)) for text in texts])


def _credits(queries, documents, rows, columns):
    """float [queries]: the credit of each; pair n says that document `columns[n]` is right for query `rows[n]`."""
    credits = np.zeros(len(queries))
    order = np.argsort(rows, kind="stable")
    rows, columns = rows[order], columns[order]
    for start in range(0, len(queries), QUERY_BLOCK):
        scores = queries[start : start + QUERY_BLOCK] @ documents.T
        here = slice(*np.searchsorted(rows, [start, start + QUERY_BLOCK]))
        places = rows[here] - start, columns[here]
        best = np.full(len(scores), -np.inf, scores.dtype)
        np.maximum.at(best, places[0], scores[places])
        scores[places] = -np.inf
        nearer = (scores > best[:, None] + TIE_TOLERANCE).any(axis=1)
        as_near = np.count_nonzero(scores >= best[:, None] - TIE_TOLERANCE, axis=1)
        credits[start : start + QUERY_BLOCK] = np.where(nearer, 0.0, 1 / (1 + as_near))
    return credits
