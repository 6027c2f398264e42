"""How often each language is drawn: one rule for the vocabulary, the batches and the statistics."""

from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError


def language_probabilities(sizes: Sequence[float] | Array, exponent: float) -> Array:
    """Sampling probability of each language, `p_l ~ (n_l / sum n) ** exponent` (XLM, XLM-R).

    Args:
        sizes: sequence of float >= 0, n_l (records or tokens of each language).
        exponent: float in [0, 1]; 1 keeps the corpus' proportions, 0 draws all languages alike.

    Returns:
        float64 [len(sizes)], summing to 1; 0 where n_l is 0.
    """
    if not 0.0 <= exponent <= 1.0:
        raise InputError(f"language_exponent = {exponent}: must be within 0..1")
    sizes = np.asarray(sizes, np.float64)
    if not np.any(sizes > 0):
        raise InputError("no language has any records")
    weights = np.where(sizes > 0, (sizes / sizes.sum()) ** exponent, 0.0)
    return weights / weights.sum()
