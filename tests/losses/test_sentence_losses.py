"""The losses of sentence vectors against sentence-transformers', in value and gradient, and closed forms."""

import warnings

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import ops

from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.false_negatives import contrast_candidates, without_false_negatives
from infoxlm_keras.losses.matryoshka import check_dimensions, truncated
from infoxlm_keras.losses.sentence_contrast import sentence_contrast
from infoxlm_keras.losses.teacher_distance import teacher_distance

with warnings.catch_warnings():
    # sentence-transformers 6 has another place for them, and says so.
    warnings.simplefilter("ignore", DeprecationWarning)
    from sentence_transformers import losses as reference

QUERIES, NEGATIVES, WIDTH = 5, 2, 8


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def vectors(seed=0, rows=QUERIES * (2 + NEGATIVES)):
    drawn = np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype("float32")
    return unit(drawn)


def sides(all_vectors):
    """(queries, documents: positives and then all negatives)."""
    return all_vectors[:QUERIES], all_vectors[QUERIES:]


def ours(function, values):
    """(value, gradient) of a sum over rows."""
    variable = tf.constant(values)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = ops.mean(function(variable))
    return float(total), tape.gradient(total, variable).numpy()


def theirs(function, values):
    variable = torch.tensor(values, requires_grad=True)
    total = function(variable)
    total.backward()
    return float(total.detach()), variable.grad.numpy()


def all_candidates(documents):
    return ops.ones((QUERIES, documents.shape[0]), "bool")


class NoModel(torch.nn.Module):
    """What the reference's losses ask a model for, where they are given embeddings."""

    def __init__(self):
        super().__init__()
        self.device = torch.device("cpu")
        self.tokenizer = None


def split(all_vectors):
    """queries, positives, negatives 1 ... of sentence-transformers."""
    queries, documents = sides(all_vectors)
    others = documents[QUERIES:].reshape(QUERIES, NEGATIVES, WIDTH)
    return [queries, documents[:QUERIES], *(others[:, number] for number in range(NEGATIVES))]


@pytest.mark.parametrize("temperature", [1.0, 0.05])
def test_the_contrast_of_queries_is_multiple_negatives_ranking(temperature):
    def contrast(values):
        queries, documents = sides(values)
        return sentence_contrast(queries, documents, all_candidates(documents), temperature, False).losses

    loss = reference.MultipleNegativesRankingLoss(NoModel(), scale=1 / temperature)
    expected = theirs(lambda values: loss.compute_loss_from_embeddings(split(values), None), vectors())
    value, gradient = ours(contrast, vectors())
    assert value == pytest.approx(expected[0], rel=1e-5)
    # The reference scales its vectors itself: its gradient has no part along them.
    along = vectors() * np.sum(gradient * vectors(), axis=-1, keepdims=True)
    np.testing.assert_allclose(gradient - along, expected[1], atol=2e-5)


def test_the_contrast_of_both_directions_is_the_symmetric_one():
    def contrast(values):
        queries, documents = sides(values)
        return sentence_contrast(queries, documents, all_candidates(documents)).losses

    with warnings.catch_warnings():
        # An option of MultipleNegativesRankingLoss from sentence-transformers 6 on.
        warnings.simplefilter("ignore", DeprecationWarning)
        loss = reference.MultipleNegativesSymmetricRankingLoss(NoModel(), scale=20.0)
    expected = theirs(lambda values: loss.compute_loss_from_embeddings(split(values), None), vectors(1))
    value, gradient = ours(contrast, vectors(1))
    assert value == pytest.approx(expected[0], rel=1e-5)
    along = vectors(1) * np.sum(gradient * vectors(1), axis=-1, keepdims=True)
    np.testing.assert_allclose(gradient - along, expected[1], atol=2e-5)


def test_closed_forms():
    four = ops.eye(4)
    every = ops.ones((4, 4), "bool")
    found = sentence_contrast(four, four, every, temperature=1.0)
    np.testing.assert_allclose(found.losses, np.log(np.e + 3) - 1, rtol=1e-6)
    assert found.correct.numpy().tolist() == [1.0] * 4
    equal = sentence_contrast(ops.ones((4, 2)), ops.ones((4, 2)), every, temperature=1.0)
    np.testing.assert_allclose(equal.losses, np.log(4), rtol=1e-6)
    assert equal.correct.numpy().tolist() == [0.0] * 4  # a tie is no find
    alone = sentence_contrast(four, four, ops.zeros((4, 4), "bool"))
    np.testing.assert_allclose(alone.losses, 0.0, atol=1e-6)
    assert teacher_distance(four, four, four).numpy().tolist() == [0.0] * 4
    assert teacher_distance(four, -four, four).numpy().tolist() == [2.0] * 4
    np.testing.assert_allclose(truncated(ops.array([[0.6, 0.0, 0.8]]), 2), [[1.0, 0.0]])
    assert truncated(four, 4) is four


@hypothesis.given(
    st.integers(1, 6).flatmap(
        lambda count: st.tuples(
            st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=count, max_size=count),
            st.lists(st.integers(0, 3), min_size=2 * count, max_size=2 * count),
            st.lists(st.booleans(), min_size=count, max_size=count),
        )
    )
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_texts_that_are_right_are_no_candidates(drawn):
    rights, documents, present = drawn
    count = len(rights)
    everyone = np.array([*present, *present])
    # The own document is always among the right ones.
    rights = [[documents[row], *others[1:]] for row, others in enumerate(rights)]
    found = contrast_candidates(np.array(rights), np.array(documents), everyone).numpy()
    for row in range(count):
        for column, text in enumerate(documents):
            assert found[row, column] == (present[row] and everyone[column] and text not in rights[row])
        assert not found[row, row]


def test_a_guide_takes_away_what_is_nearer_than_the_right_one():
    guide_queries, guide_documents = sides(vectors(2))
    every = all_candidates(guide_documents)
    similarities = guide_queries @ guide_documents.T
    for margin in (0.0, 0.2, -0.3):
        found = without_false_negatives(every, guide_queries, guide_documents, margin).numpy()
        expected = similarities <= np.diag(similarities)[:, None] - np.float32(margin)
        near = np.abs(similarities - (np.diag(similarities)[:, None] - margin)) < 1e-5
        assert np.array_equal(found[~near], expected[~near]) and found.any() and not found.all()


def test_dimensions_that_cannot_be_are_refused():
    check_dimensions([4, 2], 8)
    for wrong in ([8], [0], [4, 4], [-1]):
        with pytest.raises(InputError, match="dimensions"):
            check_dimensions(wrong, 8)
