"""A digest of a model, by which results and files made with it are known."""

import hashlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np


def model_digest(model: Any) -> str:
    """A digest of the encoder's weights and its tokenizer, str of 32 hexadecimal digits.

    Args:
        model: `PretrainedModel`.
    """
    return weights_digest(model.backbone.weights, model.tokenizer.fingerprint)


def weights_digest(weights: Iterable[Any], prefix: str = "") -> str:
    """A digest of `prefix` (str) and the values of Keras variables, str of 32 hexadecimal digits."""
    digest = hashlib.blake2b(prefix.encode(), digest_size=16)
    for weight in weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()
