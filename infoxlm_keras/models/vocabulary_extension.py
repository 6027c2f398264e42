"""A model for an extended vocabulary: old rows are unchanged, new rows are means of old ones, `<mask>` stays last."""

from collections.abc import Sequence

import keras_hub
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError


def extend_rows(rows: Array, old_ids: Sequence[Sequence[int]]) -> Array:
    """Rows for an extended vocabulary.

    `<mask>` is the last id of any vocabulary in XLM-R's layout: its row moves behind the new pieces, the first of
    which takes its old id. All other old rows keep their place.

    Args:
        rows: float [old vocabulary, ...], `<mask>` last.
        old_ids: list of sequences of int, for each new piece the old ids that it was split into.

    Returns:
        array like `rows`, [old vocabulary + len(old_ids), ...].
    """
    means = [rows[list(ids)].mean(axis=0, dtype=np.float64).astype(rows.dtype) for ids in old_ids]
    return np.concatenate([rows[:-1], np.stack(means), rows[-1:]]) if means else rows


def extend_masked_lm(
    masked_lm: keras_hub.models.XLMRobertaMaskedLM, old_ids: Sequence[Sequence[int]]
) -> keras_hub.models.XLMRobertaMaskedLM:
    """A copy of a masked-LM model with more rows in the token embedding and the output bias.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.
        old_ids: list of sequences of int; see `extend_rows`.

    Returns:
        `XLMRobertaMaskedLM`; all other weights are equal.
    """
    old = masked_lm.backbone
    vocabulary_size = old.vocabulary_size + len(old_ids)
    config = {**old.get_config(), "vocabulary_size": vocabulary_size}
    backbone = keras_hub.models.XLMRobertaBackbone.from_config(config)
    extended = keras_hub.models.XLMRobertaMaskedLM(backbone=backbone, preprocessor=None)
    for before, after in zip(masked_lm.weights, extended.weights, strict=True):
        values = ops.convert_to_numpy(before)
        if tuple(before.shape) != tuple(after.shape):
            if before.shape[0] != old.vocabulary_size or after.shape[0] != vocabulary_size:
                raise InputError(f"{before.path}: of shape {tuple(before.shape)}, cannot be extended by rows")
            values = extend_rows(values, old_ids)
        after.assign(values)
    return extended
