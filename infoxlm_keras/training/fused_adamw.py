"""AdamW's update by PyTorch's fused kernel: one pass over weights and moments, no tensor besides them.

Keras' own update on PyTorch makes five tensors as large as all weights together, and runs an operation after another.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import torch

from infoxlm_keras.annotations import Tensor

# Steps after which Adam's corrections of its first means are 1 in any precision: `alpha` holds them already.
CORRECTED = 1e9


def update_by_fused_kernel(optimizer: keras.optimizers.Optimizer) -> bool:
    """Makes Keras' Adam or AdamW compute its update by `torch._fused_adamw_`, by Keras' formula.

    Keras adds epsilon to the square root of the velocity, and PyTorch to that of the corrected velocity. So the kernel
    gets Keras' rate `alpha`, which includes the corrections, and a step at which its own corrections are 1. Keras'
    weight decay remains, with the rate itself.

    Args:
        optimizer: `keras.optimizers.Optimizer`, of any class.

    Returns:
        bool, whether it is one of the two classes themselves; with `amsgrad`, and for subclasses, nothing is changed.

    Source: Kingma & Ba 2015, section 2, last paragraph; `keras.optimizers.Adam.update_step`.
    """
    if type(optimizer) not in (keras.optimizers.Adam, keras.optimizers.AdamW, *_torch_classes()) or optimizer.amsgrad:
        return False
    optimizer._backend_update_step = functools.partial(_update, optimizer)
    return True


def _torch_classes():
    # `keras.optimizers.AdamW(...)` is an object of a subclass that Keras has for PyTorch.
    return tuple(type(made(1.0)) for made in (keras.optimizers.Adam, keras.optimizers.AdamW))


@torch.no_grad()
def _update(
    optimizer: keras.optimizers.Adam,
    gradients: Sequence[Tensor],
    variables: Sequence[keras.Variable],
    learning_rate: Tensor | float,
) -> None:
    indices = [optimizer._get_variable_index(variable) for variable in variables]
    weights = [variable.value for variable in variables]
    rate = keras.ops.cast(keras.ops.convert_to_tensor(learning_rate), "float32")
    step = (optimizer.iterations.value + 1).to(torch.float32)
    corrections = torch.sqrt(1 - optimizer.beta_2**step) / (1 - optimizer.beta_1**step)
    corrected = torch.full((), CORRECTED, dtype=torch.float32, device=weights[0].device)
    torch._fused_adamw_(
        weights,
        list(gradients),
        [optimizer._momentums[index].value for index in indices],
        [optimizer._velocities[index].value for index in indices],
        [],
        [corrected] * len(weights),
        lr=rate * corrections,
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        weight_decay=0.0,
        eps=optimizer.epsilon,
        amsgrad=False,
        maximize=False,
    )
