"""A model for a trimmed vocabulary: the rows of the ids that stay, and `<mask>` last."""

import keras_hub
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError


def trim_masked_lm(masked_lm: keras_hub.models.XLMRobertaMaskedLM, ids: Array) -> keras_hub.models.XLMRobertaMaskedLM:
    """A copy of a masked-LM model with the rows `ids` of the token embedding and the output bias.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.
        ids: int [rows - 1], ascending, without `<mask>`, whose row comes last.

    Returns:
        `XLMRobertaMaskedLM`; all other weights are equal.
    """
    old = masked_lm.backbone
    rows = np.array([*ids, old.vocabulary_size - 1])
    config = {**old.get_config(), "vocabulary_size": len(rows)}
    backbone = keras_hub.models.XLMRobertaBackbone.from_config(config)
    trimmed = keras_hub.models.XLMRobertaMaskedLM(backbone=backbone, preprocessor=None)
    for before, after in zip(masked_lm.weights, trimmed.weights, strict=True):
        values = ops.convert_to_numpy(before)
        if tuple(before.shape) != tuple(after.shape):
            if before.shape[0] != old.vocabulary_size or after.shape[0] != len(rows):
                raise InputError(f"{before.path}: of shape {tuple(before.shape)}, has no row for each token")
            values = values[rows]
        after.assign(values)
    return trimmed
