"""Arithmetic on lists of gradients, the same on every backend."""

from collections.abc import Sequence

from keras import ops

from infoxlm_keras.annotations import Tensor


def global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all gradients as one vector, in float32."""
    squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients]
    return ops.sqrt(sum(squares))


def unscaled(gradients: Sequence[Tensor], loss_scale: Tensor) -> list[Tensor]:
    """Gradients of a loss from those of `loss * loss_scale`.

    Args:
        gradients: list of tensors.
        loss_scale: float32 scalar, a power of 2: its inverse is exact.
    """
    inverse = 1.0 / loss_scale
    return [gradient * ops.cast(inverse, gradient.dtype) for gradient in gradients]


def clip_by_norm(gradients: Sequence[Tensor], norm: Tensor, limit: float | None) -> list[Tensor]:
    """Gradients scaled so that their global norm is at most `limit`.

    Args:
        gradients: list of tensors.
        norm: float32 scalar, their global norm.
        limit: float > 0, or None to leave them.
    """
    if limit is None:
        return list(gradients)
    factor = ops.cast(limit, "float32") / ops.maximum(norm, limit)
    return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]
