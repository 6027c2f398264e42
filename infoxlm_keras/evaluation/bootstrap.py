"""Intervals of accuracies by the bootstrap over sentence pairs, and over seeds. NumPy only."""

from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array

CONFIDENCE = 0.95
SEED = 0
# Numbers drawn at once, of 8 bytes each.
DRAWS = 1 << 21


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
    credits, generator = np.asarray(credits, np.float64), np.random.default_rng(seed)
    means = np.empty((*credits.shape[:-1], samples))
    # Block by block: all draws of a large test set at once would be gigabytes.
    block = max(1, DRAWS // count)
    for first in range(0, samples, block):
        size = min(block, samples - first)
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=size)
        means[..., first : first + size] = credits @ drawn.T.astype(np.float64) / count
    return means


def interval(means: Array) -> Array:
    """The middle `CONFIDENCE` of resampled means.

    Args:
        means: float [..., samples].

    Returns:
        float64 [..., 2]: lower and upper end.
    """
    tail = (1 - CONFIDENCE) / 2
    return np.moveaxis(np.quantile(means, [tail, 1 - tail], axis=-1), 0, -1)


def paired_difference(
    first: Sequence[Sequence[Array]], second: Sequence[Sequence[Array]], samples: int = 2000, seed: int = SEED
) -> dict[str, float]:
    """How much better the runs `first` are than the runs `second`, with the interval of both sources of chance.

    A resampling draws seeds, and of each language pairs, with replacement. Both sides get the same draws, so what they
    have in common cancels. The accuracy is the mean over languages of the mean over pairs. With few seeds the interval
    is too narrow: n of them have only (2n - 1)! / (n! (n - 1)!) different samples.

    Args:
        first, second: for each seed, in the same order, and each language the credit of each pair, float [N].
        samples: int, resamplings.
        seed: int.

    Returns:
        dict of float: `difference`, `lower` and `upper` (the middle `CONFIDENCE`), and `share_above_zero`, the share
        of the resamplings in which `first` is better.

    Example:
    ```python
    paired_difference([[np.ones(4)], [np.ones(4)]], [[np.zeros(4)], [np.ones(4)]])["difference"]  # 0.5
    ```
    """
    differences = [
        [np.asarray(a, np.float64) - np.asarray(b, np.float64) for a, b in zip(*sides, strict=True)]
        for sides in zip(first, second, strict=True)
    ]
    generator = np.random.default_rng(seed)
    found = np.zeros((samples, len(differences)))  # one accuracy a seed in each resampling
    for language in range(len(differences[0])):
        of_language = np.stack([one[language] for one in differences])  # [seeds, N]
        count = of_language.shape[1]
        block = max(1, DRAWS // count)
        for start in range(0, samples, block):
            size = min(block, samples - start)
            drawn = generator.multinomial(count, np.full(count, 1 / count), size=size) / count
            found[start : start + size] += drawn @ of_language.T / len(differences[0])
    seeds = generator.multinomial(len(differences), np.full(len(differences), 1 / len(differences)), size=samples)
    means = (found * seeds).sum(axis=1) / len(differences)
    lower, upper = interval(means)
    return {
        "difference": float(np.mean([np.mean([np.mean(values) for values in one]) for one in differences])),
        "lower": float(lower),
        "upper": float(upper),
        "share_above_zero": float(np.mean(means > 0)),
    }
