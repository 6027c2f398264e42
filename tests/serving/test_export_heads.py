"""What each head answers, before it is saved and after, against NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import (
    ClassifierModule,
    EmbeddingModule,
    MaskedLMModule,
    export_classifier,
    export_masked_lm,
)
from tiny_export import LAYERS, POSITIONS, TEXTS, expected_vectors, padded_ids, softmax, tiny_classifier


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=2, pooling="cls"))


@pytest.mark.parametrize("layer", range(LAYERS + 1))
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_layer_and_pooling(model, layer, pooling, normalize):
    module = EmbeddingModule(model, layer, pooling, normalize)
    vectors = module.predict(*module.text_to_ids(tf.constant(TEXTS)))["embedding"].numpy()
    expected = expected_vectors(model, TEXTS, layer, pooling, normalize)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)


def test_layer_and_pooling_default_to_those_of_the_training(model):
    assert EmbeddingModule(model).facts().items() >= {"layer": 2, "pooling": "cls"}.items()
    # Without a history: two thirds of two layers, and the mean.
    foreign = PretrainedModel(model.masked_lm, model.tokenizer, None)
    assert EmbeddingModule(foreign).facts().items() >= {"layer": 1, "pooling": "mean"}.items()


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("asked", [None, True, False])
def test_the_scale_is_that_of_the_model_unless_another_is_asked_for(model, trained, asked):
    model = PretrainedModel(model.masked_lm, model.tokenizer, dataclasses.replace(model.info, normalize=trained))
    module = EmbeddingModule(model, normalize=asked)
    vectors = module.predict(*module.text_to_ids(tf.constant(TEXTS)))["embedding"].numpy()
    if asked is None:
        texts = [text.decode("utf-8", "replace") for text in TEXTS]
        np.testing.assert_allclose(vectors, model.encode(texts), rtol=1e-5, atol=1e-5)
    unit = trained if asked is None else asked
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1) == unit == module.facts()["normalize"]


def test_max_length_cuts_the_text(model):
    module = EmbeddingModule(model, max_length=5)
    text = b"the house river bridge green old"
    [row], [mask] = module.text_to_ids(tf.constant([text]))
    assert row.numpy().tolist() == padded_ids(model.tokenizer, [text], 5)[0][0].tolist()
    assert mask.numpy().tolist() == [1] * 5


def test_masked_lm_fillings(model, tokenizer, tmp_path):
    texts = [b"the <mask> opens a <mask>", b"no mask", "<mask> и улица".encode(), b"", b"<mask>" * 100]
    directory = export_masked_lm(model, tmp_path, top_k=4, verify=False).directory
    signatures = tf.saved_model.load(str(directory)).signatures
    answer = signatures["serving_default"](text=tf.constant(texts))
    outputs = {name: value.numpy() for name, value in answer.items()}
    module = MaskedLMModule(model, top_k=4)
    token_ids, padding_mask = (tensor.numpy() for tensor in module.text_to_ids(tf.constant(texts)))

    longest = POSITIONS - 2  # masks of the last text that fit
    assert {name: value.shape for name, value in outputs.items()} == dict.fromkeys(
        ("tokens", "token_ids", "probabilities"), (len(texts), longest, 4)
    )
    mask_id = tokenizer.vocabulary_size - 1
    for row, masks in enumerate([2, 0, 1, 0, longest]):
        for name, empty in (("tokens", b""), ("token_ids", 1), ("probabilities", 0.0)):
            assert (outputs[name][row, masks:] == empty).all()
        positions = np.flatnonzero(token_ids[row] == mask_id)
        assert len(positions) == masks
        if not masks:
            continue
        inputs = {"token_ids": token_ids[[row]], "padding_mask": padding_mask[[row]]}
        probabilities = softmax(model.masked_lm({**inputs, "mask_positions": positions[None]}))[0]
        for place in range(masks):
            ranked = [token for token in np.argsort(-probabilities[place]) if 4 <= token < mask_id][:4]
            assert outputs["token_ids"][row, place].tolist() == ranked
            pieces = [tokenizer.processor.id_to_piece(int(token) - 1).encode() for token in ranked]
            assert outputs["tokens"][row, place].tolist() == pieces
            np.testing.assert_allclose(
                outputs["probabilities"][row, place], probabilities[place][ranked], rtol=0, atol=1e-5
            )
    by_ids = signatures["tokens"](token_ids=token_ids, padding_mask=padding_mask)
    assert (by_ids["tokens"].numpy() == outputs["tokens"]).all()
    empty = signatures["serving_default"](text=tf.constant([], tf.string))
    assert empty["tokens"].shape == (0, 0, 4)


def test_classifier_probabilities(model, tokenizer, tmp_path):
    classifier = tiny_classifier(model.backbone, tokenizer)
    directory = export_classifier(classifier, tokenizer, tmp_path, verify=False).directory
    signature = tf.saved_model.load(str(directory)).signatures["serving_default"]
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    expected = softmax(classifier({"token_ids": token_ids, "padding_mask": padding_mask}))
    np.testing.assert_allclose(signature(text=tf.constant(TEXTS))["probabilities"], expected, rtol=0, atol=1e-5)


def test_a_classifier_with_softmax_is_not_normalised_twice(model, tokenizer):
    classifier = tiny_classifier(model.backbone, tokenizer, activation="softmax")
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    expected = np.asarray(classifier({"token_ids": token_ids, "padding_mask": padding_mask}))
    answer = ClassifierModule(classifier, tokenizer).predict(token_ids, padding_mask)["probabilities"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)


def test_another_backend_is_refused_with_the_remedy(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND = jax: .* set KERAS_BACKEND=tensorflow"):
        EmbeddingModule(model)
