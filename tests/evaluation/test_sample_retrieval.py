"""Retrieval where queries have several right documents: hand-made cases, a plain loop, and the old protocol."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import retrieval_accuracy
from infoxlm_keras.evaluation.sample_retrieval import sample_retrieval


def unit(rows, seed=0, width=4):
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype("float32")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_perfect_encoder_with_two_positives_a_query_scores_one():
    meanings = unit(5, width=16)
    queries, documents = np.repeat(meanings, 2, axis=0), np.repeat(meanings, 2, axis=0)
    texts = [f"q{n // 2}" for n in range(10)], [f"d{n}" for n in range(10)]
    assert sample_retrieval(queries, documents, *texts) == (1.0, 1.0)
    assert retrieval_accuracy(queries, documents) == (0.5, 0.5)


def test_texts_that_all_differ_are_the_old_protocol():
    queries, documents = unit(40), unit(40, 1)
    texts = [[f"{side}{number}" for number in range(40)] for side in "qd"]
    assert sample_retrieval(queries, documents, *texts) == pytest.approx(retrieval_accuracy(queries, documents))
    same = np.ones((40, 4), "float32")
    assert sample_retrieval(same, same, *texts) == pytest.approx((1 / 40, 1 / 40))


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12), st.integers(0, 99)
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_against_a_plain_loop(pairs, seed):
    query_vectors, document_vectors = unit(5, seed), unit(5, seed + 1)
    queries, documents = zip(*pairs, strict=True)
    found = sample_retrieval(
        query_vectors[list(queries)], document_vectors[list(documents)], [*map(str, queries)], [*map(str, documents)]
    )
    scores = query_vectors @ document_vectors.T

    def accuracy(own, others, score):
        credits = []
        for one in sorted(set(own)):
            right = {other for mine, other in zip(own, others, strict=True) if mine == one}
            best = max(score(one, other) for other in right)
            credits.append(all(score(one, other) <= best for other in set(others) - right))
        return np.mean(credits)

    expected = (
        accuracy(queries, documents, lambda one, other: scores[one, other]),
        accuracy(documents, queries, lambda one, other: scores[other, one]),
    )
    assert found == pytest.approx(expected)


def test_nothing_to_measure():
    with pytest.raises(InputError, match="no sample"):
        sample_retrieval(np.zeros((0, 4)), np.zeros((0, 4)), [], [])
