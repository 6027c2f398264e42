"""A digest of a model, by which results and files made with it are known."""

import hashlib
from typing import Any

import keras
import numpy as np


def model_digest(model: Any) -> str:
    """A digest of the encoder's weights and its tokenizer, str of 32 hexadecimal digits.

    Args:
        model: `PretrainedModel`.
    """
    digest = hashlib.blake2b(model.tokenizer.fingerprint.encode(), digest_size=16)
    for weight in model.backbone.weights:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(weight)).data)
    return digest.hexdigest()
