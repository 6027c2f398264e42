"""The chunked masked-LM loss against the plain one: value, right guesses and every gradient."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras import MMLM, InputError
from infoxlm_keras.losses.chunked_masked_lm import chunked_masked_lm_loss, vocabulary_chunk
from infoxlm_keras.losses.masked_lm import masked_lm_loss
from tiny_pretraining import TWO_LAYERS, gradients, joint_batch, tiny_pretrainer

VOCABULARY, DIM, PREDICTIONS = 23, 6, 9


def arguments(dtype="float32", scale=1.0):
    generator = np.random.default_rng(0)
    features = tf.constant(generator.normal(0, scale, (PREDICTIONS, DIM)), dtype)
    embeddings = tf.constant(generator.normal(0, 1, (VOCABULARY, DIM)), tf.float32)
    bias = tf.constant(generator.normal(0, 1, VOCABULARY), tf.float32)
    labels = generator.integers(0, VOCABULARY, PREDICTIONS).astype(np.int32)
    # The last piece is in two chunks' reach where the chunk does not divide the vocabulary.
    labels[:3] = VOCABULARY - 1, 0, VOCABULARY - 5
    weights = np.array([1, 1, 1, 0, 2, 1, 0.5, 0, 1], np.float32)
    return features, embeddings, bias, tf.constant(labels), tf.constant(weights)


def plain(features, embeddings, bias, labels, weights):
    logits = tf.cast(tf.matmul(features, tf.cast(embeddings, features.dtype), transpose_b=True), tf.float32) + bias
    return masked_lm_loss(logits[None], labels[None], weights[None])


def with_gradients(function, values, compiled=False):
    def run():
        with tf.GradientTape() as tape:
            tape.watch(values[:3])
            loss = function(*values)
            scaled = 3.0 * loss.loss_sum
        return loss.loss_sum, loss.correct_sum, tape.gradient(scaled, values[:3])

    return tf.function(run, jit_compile=True)() if compiled else run()


@pytest.mark.parametrize("chunk", [1, 4, 7, 22, 23])
@pytest.mark.parametrize("scale", [1.0, 300.0])
@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_equal_to_the_plain_loss_in_value_and_gradient(chunk, scale, compiled):
    values = arguments(scale=scale)
    expected = with_gradients(plain, values)
    actual = with_gradients(lambda *parts: chunked_masked_lm_loss(*parts, chunk), values, compiled)
    np.testing.assert_allclose(actual[0], expected[0], rtol=1e-5)
    assert float(actual[1]) == float(expected[1])
    for one, other in zip(actual[2], expected[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.03), ("float16", 0.003)])
def test_half_precision_is_near_and_its_gradients_have_their_types(dtype, tolerance):
    exact = with_gradients(plain, arguments())
    actual = with_gradients(lambda *parts: chunked_masked_lm_loss(*parts, 7), arguments(dtype))
    assert actual[0].dtype == tf.float32 and actual[2][0].dtype == dtype
    np.testing.assert_allclose(actual[0], exact[0], rtol=tolerance)
    for one, other in zip(actual[2], exact[2], strict=True):
        assert np.linalg.norm(tf.cast(one, tf.float32) - other) < 2 * tolerance * np.linalg.norm(other)


def test_without_training_there_is_the_same_value():
    values = arguments()
    loss = chunked_masked_lm_loss(*values, 5, training=False)
    np.testing.assert_allclose(loss.loss_sum, plain(*values).loss_sum, rtol=1e-6)


@pytest.mark.parametrize(
    ("predictions", "vocabulary", "limit", "expected"),
    [
        (10, 100, 1000, 100),
        (10, 100, 999, 50),
        (10, 1000, 2000, 128),
        (9856, 250002, 1 << 27, 13184),  # 19 chunks, as of 13568
        (1232, 250002, 1 << 27, 83456),  # 3 chunks, as of 108928, and 23% less to compute
        (10**9, 250002, 1 << 27, 16),
    ],
)
def test_chunks(predictions, vocabulary, limit, expected):
    assert vocabulary_chunk(predictions, vocabulary, limit) == expected


@given(predictions=st.integers(1, 20_000), vocabulary=st.integers(1, 300_000), limit=st.integers(1, 1 << 28))
def test_chunks_fit_and_repeat_little(predictions, vocabulary, limit):
    chunk = vocabulary_chunk(predictions, vocabulary, limit)
    assert 1 <= chunk <= vocabulary and (chunk <= 16 or predictions * chunk <= limit)
    number = -(-vocabulary // chunk)
    assert number * chunk - vocabulary < number * 128


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_task_gives_the_same_gradients_either_way(dtype, monkeypatch):
    """50 pieces in chunks of 16: through the head, into every weight of the model."""
    monkeypatch.setattr("infoxlm_keras.tasks.masked_lm.vocabulary_chunk", lambda *_: 16)
    chunked = tiny_pretrainer([MMLM()], size=TWO_LAYERS, dtype=dtype)
    batch = joint_batch(np.random.default_rng(3), tlm=0, xlco=0)["mmlm"]
    found = gradients(chunked, lambda p: p.task("mmlm").result(batch, training=True).loss_sum)
    monkeypatch.undo()
    expected = gradients(chunked, lambda p: p.task("mmlm").result(batch, training=True).loss_sum)
    tolerance = 1e-5 if dtype == "float32" else 0.05
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance)
    for variable, one, other in zip(chunked.trainable_variables, found[1], expected[1], strict=True):
        one, other = np.array(tf.convert_to_tensor(one)), np.array(tf.convert_to_tensor(other))
        assert np.abs(one - other).max() <= tolerance * max(np.abs(other).max(), 0.1), variable.path


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match=r"mmlm\.max_logits = 0"):
        MMLM(max_logits=0)
