"""How often each language is drawn: one rule for the vocabulary, the batches and the statistics."""

from collections.abc import Mapping, Sequence

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


def stream_probabilities(records: Mapping[str, int], exponent: float) -> dict[str, float]:
    """Sampling probability of each stream of records, which is in one language or in a pair of them.

    `de-en` and `en-de` are the same pair, whose probability they share by their records.

    Args:
        records: dict of name to int, records of each stream.
        exponent: as of `language_probabilities`.

    Returns:
        dict like `records` to float, summing to 1.

    Example:
    ```python
    stream_probabilities({"de-en": 60, "en-de": 40, "en-tr": 100}, 0.5)  # 0.3, 0.2, 0.5
    ```
    """
    languages = {name: "-".join(sorted(name.split("-"))) for name in records}
    together: dict[str, int] = {}
    for name, count in records.items():
        together[languages[name]] = together.get(languages[name], 0) + count
    drawn = dict(zip(together, language_probabilities(list(together.values()), exponent).tolist(), strict=True))
    return {
        name: drawn[languages[name]] * (count / together[languages[name]]) if count else 0.0
        for name, count in records.items()
    }
