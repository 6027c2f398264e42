"""Texts to vectors: equal to a plain forward pass, whatever the batch."""

import keras
import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder, embed_texts, pad, padded_lengths
from sample_text import multilingual_sentences

TEXTS = [
    "",
    "the house",
    "der Fluss fließt neben dem alten Wald.",
    "房子河流桥",
    "街 " * 40,
    "the house",
    "🙂 unknown",
]


def states_by_hand(masked_lm, token_ids):
    """All hidden states of one sequence without padding, float [L + 1, length, dim], layer after layer."""
    backbone = masked_lm.backbone
    token_ids = np.array([token_ids], np.int32)
    mask = np.ones_like(token_ids)
    state = backbone.embeddings_layer_norm(backbone.embeddings(token_ids))
    states = [state]
    for layer in backbone.transformer_layers:
        state = layer(state, padding_mask=mask, training=False)
        states.append(state)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(backbone({"token_ids": token_ids, "padding_mask": mask}, training=False)),
        keras.ops.convert_to_numpy(state),
        atol=1e-6,
    )
    return np.stack([keras.ops.convert_to_numpy(state)[0] for state in states])


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_vectors_equal_the_forward_pass_of_each_sentence_alone(tiny_masked_lm, tokenizer, pooling):
    vectors = embed_texts(tiny_masked_lm.backbone, tokenizer, TEXTS, pooling=pooling, batch_size=3)
    assert vectors.shape == (3, len(TEXTS), 8)
    assert vectors.dtype == np.float32
    for number, token_ids in enumerate(tokenizer.encode(TEXTS)):
        states = states_by_hand(tiny_masked_lm, [0, *token_ids[:62], 2])
        expected = {"cls": states[:, 0], "mean": states.mean(axis=1), "max": states.max(axis=1)}[pooling]
        np.testing.assert_allclose(vectors[:, number], expected, atol=1e-5)
    assert len(tokenizer.encode(TEXTS)[4]) > 62  # one of them was cut
    assert np.abs(vectors[0] - vectors[1]).max() > 0.1 and np.abs(vectors[1] - vectors[2]).max() > 0.1


def test_some_layers_in_the_order_asked_for(tiny_masked_lm, tokenizer):
    every = embed_texts(tiny_masked_lm.backbone, tokenizer, TEXTS)
    some = embed_texts(tiny_masked_lm.backbone, tokenizer, TEXTS, layers=[2, 0])
    np.testing.assert_allclose(some, every[[2, 0]], atol=1e-6)


def test_vectors_do_not_depend_on_the_other_texts(tiny_masked_lm, tokenizer):
    embedder = TextEmbedder(tiny_masked_lm.backbone, tokenizer, batch_size=4)
    texts = multilingual_sentences(5) + TEXTS
    order = np.random.default_rng(0).permutation(len(texts))
    vectors = embedder(texts)
    np.testing.assert_allclose(embedder([texts[number] for number in order]), vectors[:, order], atol=1e-6)
    np.testing.assert_allclose(embedder(texts[3:4]), vectors[:, 3:4], atol=1e-6)
    np.testing.assert_allclose(vectors[:, texts.index("")], embedder([""])[:, 0], atol=1e-6)


def test_progress_counts_every_text_once_and_no_text_is_fine(tiny_masked_lm, tokenizer):
    embedder = TextEmbedder(tiny_masked_lm.backbone, tokenizer, batch_size=2)
    counts = []
    embedder(TEXTS, progress=counts.append)
    assert sum(counts) == len(TEXTS) and max(counts) <= 2
    assert embedder([]).shape == (3, 0, 8)


def test_one_shape_a_padded_length(tiny_masked_lm, tokenizer):
    embedder = TextEmbedder(tiny_masked_lm.backbone, tokenizer, batch_size=4)
    shapes, plain = [], embedder._model.predict_on_batch

    def recorded(inputs):
        shapes.append(inputs["token_ids"].shape)
        return plain(inputs)

    embedder._model.predict_on_batch = recorded
    embedder(multilingual_sentences(20))
    assert {rows for rows, _ in shapes} == {4}
    assert {length for _, length in shapes} <= {8, 12, 16, 24, 32, 48, 64}
    assert [length for _, length in shapes] == sorted((length for _, length in shapes), reverse=True)


def test_padded_lengths_end_at_the_limit():
    assert padded_lengths(64) == [8, 12, 16, 24, 32, 48, 64]
    assert padded_lengths(50) == [8, 12, 16, 24, 32, 48, 50]
    assert padded_lengths(5) == [5]


def test_pad_writes_pad_id_and_zero():
    token_ids, padding_mask = pad([[0, 7, 8, 2], [0, 2]], 5)
    assert token_ids.tolist() == [[0, 7, 8, 2, 1], [0, 2, 1, 1, 1]]
    assert padding_mask.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 0]]
    assert token_ids.dtype == padding_mask.dtype == np.int32


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"layers": [3]}, "layer 3: the encoder has hidden states 0..2"),
        ({"layers": [-1]}, "layer -1"),
        ({"layers": []}, "at least one hidden state"),
        ({"pooling": "median"}, "cls, mean, max"),
        ({"batch_size": 0}, "at least 1"),
        ({"max_length": 2}, "3..64"),
        ({"max_length": 65}, "3..64"),
    ],
)
def test_settings_out_of_range_are_refused(tiny_masked_lm, tokenizer, setting, message):
    with pytest.raises(InputError, match=message):
        TextEmbedder(tiny_masked_lm.backbone, tokenizer, **setting)


def test_a_lone_surrogate_is_named(tiny_masked_lm, tokenizer):
    with pytest.raises(InputError, match="text number 1 "):
        embed_texts(tiny_masked_lm.backbone, tokenizer, ["fine", "broken \ud800"])
