"""Names for the types that annotations use."""

import os
from typing import Any, TypeAlias

import numpy as np

# A tensor or variable of the Keras backend in use: `tf.Tensor`, `jax.Array` or `torch.Tensor`. Keras has no static
# type for it, so shapes and dtypes stand in docstrings.
Tensor: TypeAlias = Any
# A NumPy array of any dtype; the docstring names dtype and shape.
Array: TypeAlias = np.ndarray[Any, Any]
PathLike: TypeAlias = str | os.PathLike[str]
# The tensors of one pretext task by name, each [samples, ...].
Tensors: TypeAlias = dict[str, Any]
# What a training step takes: `{task name: {name: tensor}}`.
Batch: TypeAlias = dict[str, dict[str, Any]]
