"""The best spans of windows against a search through every span in plain Python."""

import itertools

import numpy as np
import pytest

from infoxlm_keras.evaluation.answer_spans import Span, best_spans

ROWS, PLACES, COUNTS = np.array([0, 0, 1, 2]), np.array([4, 4, 3, 5]), np.array([7, 3, 0, 6])


@pytest.mark.parametrize("max_answer", [1, 3, 30])
@pytest.mark.parametrize("n_best", [1, 4, 100])
def test_they_equal_a_search_through_every_span(max_answer, n_best):
    logits = np.random.default_rng(max_answer).normal(0, 1, (4, 12, 2)).astype(np.float32)
    logits[:, 0] = 100  # <s> is never a part of an answer
    logits[:, 11] = 50  # nor is padding
    found = best_spans(logits, ROWS, PLACES, COUNTS, max_answer, n_best)
    for row in range(3):
        expected = []
        for window in np.flatnonzero(ROWS == row):
            context = range(PLACES[window], PLACES[window] + COUNTS[window])
            for first, last in itertools.product(context, context):
                if first <= last < first + max_answer:
                    expected.append((float(logits[window, first, 0] + logits[window, last, 1]), window, first, last))
        expected.sort(reverse=True)
        spans = [(span.score, span.window, span.first, span.last) for span in found[row]]
        assert spans == expected[:n_best]
    assert found[1] == []  # the context without tokens


def test_of_equal_scores_the_first_window_and_the_shorter_earlier_span_is_best():
    (spans,) = best_spans(np.zeros((2, 8, 2), np.float32), np.zeros(2, int), np.full(2, 3), np.full(2, 4), 3, 1)
    assert [(span.window, span.first, span.last) for span in spans] == [(0, 3, 3)]
    assert best_spans(np.zeros((0, 8, 2), np.float32), *np.zeros((3, 0), int)) == []


@pytest.mark.parametrize("n_best", [1, 2, 5, 17, 1000])
@pytest.mark.parametrize("values", [1, 2, 4])
def test_the_order_of_equal_scores_is_the_same_for_every_number_of_spans(n_best, values):
    logits = np.random.default_rng(values).integers(0, values, (3, 20, 2)).astype(np.float32)
    places, counts = np.array([3, 4, 2]), np.array([16, 9, 14])
    (spans,) = best_spans(logits, np.zeros(3, int), places, counts, 6, n_best)
    every = [
        Span(window, first, last, float(logits[window, first, 0] + logits[window, last, 1]))
        for window, (place, count) in enumerate(zip(places.tolist(), counts.tolist(), strict=True))
        for first in range(place, place + count)
        for last in range(first, min(first + 6, place + count))
    ]
    every.sort(key=lambda span: (-span.score, span.window, span.last - span.first, span.first))
    assert spans == every[:n_best]
