"""Vectors of which the first dimensions are vectors too (Kusupati et al. 2022, https://arxiv.org/abs/2205.13147)."""

from collections.abc import Sequence

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.pooling import l2_normalize


def truncated(vectors: Tensor, dimensions: int) -> Tensor:
    """The first `dimensions` (int) of `vectors` [..., dim], scaled to unit length again.

    Example:
    ```python
    truncated(ops.array([[0.6, 0.0, 0.8]]), 2)  # [[1, 0]]
    ```
    """
    return vectors if dimensions == vectors.shape[-1] else l2_normalize(vectors[..., :dimensions])


def check_dimensions(dimensions: Sequence[int], width: int) -> None:
    """Raises `InputError` unless `dimensions` are different and in 1..`width` - 1 (int)."""
    for number in dimensions:
        if not 1 <= number < width:
            raise InputError(f"dimensions: {number} must be in 1..{width - 1}, less than the encoder's width {width}")
    if len(set(dimensions)) != len(dimensions):
        raise InputError(f"dimensions = {list(dimensions)}: give each number once")
