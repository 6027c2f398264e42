"""Selects the training step written for the Keras backend in use."""

from typing import TYPE_CHECKING

import keras

# A type checker sees one of the three.
if TYPE_CHECKING or keras.backend.backend() == "tensorflow":
    from infoxlm_keras.training.step.tensorflow_step import TrainStep
elif keras.backend.backend() == "jax":
    from infoxlm_keras.training.step.jax_step import TrainStep
elif keras.backend.backend() == "torch":
    from infoxlm_keras.training.step.torch_step import TrainStep
else:
    raise ImportError(f"Keras backend {keras.backend.backend()!r}: training needs tensorflow, jax or torch")

__all__ = ["TrainStep"]
