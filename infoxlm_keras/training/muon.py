"""Muon for the matrices of a Transformer, those of attention included."""

import math
import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor

# Its kernel is [heads, size of a head, width]; those of query, key and value are [width, heads, size of a head].
ATTENTION_OUTPUT = "attention_output"


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class MatrixMuon(keras.optimizers.Muon):
    """`keras.optimizers.Muon`, which takes kernels of attention, [width, heads, size of a head], as matrices too.

    Keras' own trains them by AdamW, because they have three dimensions; these are a third of a Transformer layer's
    weights. It takes biases of attention, [heads, size of a head], for matrices. Here AdamW trains embeddings, biases
    and layer norms. With `rms_rate` (0.2) an update is as large as AdamW's, so learning rate and weight decay carry
    over.

    Source: Jordan et al. 2024 (Muon); Liu et al. 2025, https://arxiv.org/abs/2502.16982, section 2.2, for the size.

    Args:
        options: of `keras.optimizers.Muon`.

    Example:
    ```python
    optimizer = MatrixMuon(learning_rate=2e-4, weight_decay=0.01)
    ```
    """

    def __init__(self, learning_rate: Any = 0.001, **options: Any) -> None:
        super().__init__(learning_rate=learning_rate, **options)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        super().build(variables)
        self._matrix_shapes = [matrix_shape(variable) for variable in variables]

    def _should_use_adamw(self, variable: keras.Variable) -> bool:
        if variable.path.endswith("bias"):
            return True
        if len(variable.shape) == 3:
            return any(re.search(keyword, variable.path) for keyword in self.exclude_layers)
        return super()._should_use_adamw(variable)

    def _muon_update_step(self, gradient: Tensor, variable: keras.Variable, lr: Tensor, m: keras.Variable) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        moved = gradient + self.momentum * m if self.nesterov else ops.convert_to_tensor(m)
        shape = self._matrix_shapes[self._get_variable_index(variable)]
        update = self.zeropower_via_newtonschulz5(ops.reshape(moved, shape), self.ns_steps)
        self.assign_sub(variable, ops.reshape(self.lr_adjust(lr * update), variable.shape))


def matrix_shape(variable: keras.Variable) -> tuple[int, int]:
    """(inputs, outputs) of the kernel `variable`, of two or three dimensions; of a vector (size, 1)."""
    shape = tuple(variable.shape)
    if len(shape) == 3 and ATTENTION_OUTPUT in variable.path:
        return math.prod(shape[:2]), shape[2]
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)
