"""Texts that break tokenizers, a tiny classifier, and the answers to expect of an export, by NumPy."""

import keras_hub
import numpy as np

from infoxlm_keras.models import hidden_states_model
from sample_text import multilingual_sentences

# Of the shared `tiny_masked_lm`.
LAYERS, DIM, POSITIONS = 2, 8, 64
TEXTS = [
    *(text.encode() for text in multilingual_sentences(2)),
    b"",
    b" \t\n",
    "👩‍👩‍👧 e\u0301 \x00\x07".encode(),
    b"\xff cut \xe2\x82",
    "улица и ".encode() * 10_000,
]


def tiny_classifier(backbone, tokenizer, activation=None):
    """A random KerasHub classifier of three classes, with the shape of `backbone` and a preprocessor."""
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto), sequence_length=POSITIONS
    )
    backbone = keras_hub.models.XLMRobertaBackbone.from_config(backbone.get_config())
    classifier = keras_hub.models.XLMRobertaTextClassifier(
        backbone, num_classes=3, preprocessor=preprocessor, activation=activation
    )
    generator = np.random.default_rng(5)
    classifier.set_weights([generator.normal(0, 0.5, weight.shape) for weight in classifier.weights])
    return classifier


def padded_ids(tokenizer, texts, max_length=POSITIONS):
    """NumPy int32 (token_ids, padding_mask) of `texts` (bytes) by SentencePiece's Python package."""
    encoded = tokenizer.encode([text.decode("utf-8", "replace") for text in texts])
    rows = [[0, *token_ids[: max_length - 2], 2] for token_ids in encoded]
    length = max(map(len, rows))
    token_ids = np.array([row + [1] * (length - len(row)) for row in rows], np.int32)
    return token_ids, (token_ids != 1).astype(np.int32)


def expected_vectors(model, texts, layer, pooling, normalize=True):
    """Vectors of a `PretrainedModel` by NumPy from all of its hidden states."""
    token_ids, padding_mask = padded_ids(model.tokenizer, texts)
    states = hidden_states_model(model.backbone)({"token_ids": token_ids, "padding_mask": padding_mask})
    state = np.asarray(states[layer], np.float64)
    if pooling == "cls":
        vectors = state[:, 0]
    else:
        lengths = padding_mask.sum(axis=1)
        reduced = {"mean": np.mean, "max": np.max}[pooling]
        vectors = np.stack([reduced(row[:length], axis=0) for row, length in zip(state, lengths, strict=True)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors


def softmax(logits):
    """Over the last axis, in float64."""
    exponentials = np.exp(np.asarray(logits, np.float64))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
