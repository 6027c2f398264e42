"""Intervals of accuracies by the bootstrap over sentence pairs. NumPy only."""

import numpy as np

from infoxlm_keras.annotations import Array

CONFIDENCE = 0.95
SEED = 0


def bootstrap_means(credits: Array, samples: int, seed: int = SEED) -> Array:
    """Means of resampled pairs; the candidates of the retrieval stay the same.

    Args:
        credits: float [..., N], in the last axis the credit of each pair. All rows are resampled alike, so that layers
            and directions can be compared.
        samples: int, resamplings.
        seed: int.

    Returns:
        float64 [..., samples].
    """
    count = credits.shape[-1]
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)
    return np.asarray(credits, np.float64) @ drawn.T.astype(np.float64) / count


def interval(means: Array) -> Array:
    """The middle `CONFIDENCE` of resampled means.

    Args:
        means: float [..., samples].

    Returns:
        float64 [..., 2]: lower and upper end.
    """
    tail = (1 - CONFIDENCE) / 2
    return np.moveaxis(np.quantile(means, [tail, 1 - tail], axis=-1), 0, -1)
