"""Dynamic loss scale for float16 gradients, kept as two variables of the pretrainer."""

from keras import ops

from infoxlm_keras.annotations import Tensor

INITIAL_SCALE = 2.0**15
GROWTH_INTERVAL = 2000


def next_loss_scale(scale: Tensor, finite_steps: Tensor, finite: Tensor) -> tuple[Tensor, Tensor]:
    """The scale and the run of finite steps after one update.

    Args:
        scale: float32 scalar, the present factor of the loss.
        finite_steps: int32 scalar, finite updates since the scale last changed.
        finite: bool scalar, whether this update's gradients were all finite.

    Returns:
        (scale, finite_steps): halved (not below 1) and 0 after an overflow; doubled and 0 after
        `GROWTH_INTERVAL` finite updates in a row; else (scale, finite_steps + 1).
    """
    grown = ops.greater_equal(finite_steps + 1, GROWTH_INTERVAL)
    scale_if_finite = ops.where(grown, scale * 2.0, scale)
    steps_if_finite = ops.where(grown, ops.zeros_like(finite_steps), finite_steps + 1)
    return (
        ops.where(finite, scale_if_finite, ops.maximum(scale / 2.0, 1.0)),
        ops.where(finite, steps_if_finite, ops.zeros_like(finite_steps)),
    )
