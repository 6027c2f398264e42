"""Refuses weights that hold NaN or infinity when they are loaded: every vector of such a model is NaN."""

from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import keras

REMEDY = (
    "holds values that are not finite, so the model's outputs would be NaN; fetch it again, or take an earlier one"
)


def check_finite_array(array: Array, name: str, source: PathLike) -> None:
    """Raises `InputError` if a value of `array`, the tensor `name` of the file `source`, is NaN or infinite.

    Args:
        array: NumPy array of floats; bfloat16 too.
        name: str.
        source: str or path.
    """
    # The smallest and the largest value show both, and need no memory.
    with np.errstate(invalid="ignore"):
        finite = not array.size or (np.isfinite(array.min()) and np.isfinite(array.max()))
    if not finite:
        raise InputError(f"{source}: {name} {REMEDY}")


def check_finite_weights(model: "keras.Model", source: PathLike) -> None:
    """Raises `InputError` if a value of a floating-point weight of `model`, read from `source`, is NaN or infinite."""
    for weight in model.weights:
        if "float" in str(weight.dtype) and not bool(ops.all(ops.isfinite(weight))):
            raise InputError(f"{source}: {weight.path} {REMEDY}")
