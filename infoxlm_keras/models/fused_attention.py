"""Inputs of the Transformer layers in the form that cuDNN's attention kernel takes, on JAX.

The kernel never stores the [batch, heads, length, length] scores. Keras calls it by itself on a GPU in half precision
where no attention score is dropped (`dropout` 0, as when continuing from XLM-R), if two conditions hold: the mask has
a row for each query, and lengths are even. Elsewhere these layers change no value.
"""

from collections.abc import Iterable
from typing import Any

import keras
import keras_hub
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.feedforward import keep_one_activation
from infoxlm_keras.models.tpu_attention import attend_on_tpu, on_tpu, platform

# The kernel asks for 2; half-precision matrix products of NVIDIA GPUs work in blocks of 8.
MULTIPLE = 8


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class PadLength(keras.layers.Layer):
    """Fills axis 1 with zeros up to a multiple of `MULTIPLE`: float or int [batch, length, ...].

    >>> PadLength()(np.ones((2, 13, 4))).shape
    (2, 16, 4)
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def call(self, inputs: Tensor) -> Tensor:
        missing = 0 if inputs.shape[1] is None else -inputs.shape[1] % MULTIPLE
        if not missing:
            return inputs
        return ops.pad(inputs, [(0, 0), (0, missing)] + [(0, 0)] * (len(inputs.shape) - 2))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        length = input_shape[1]
        return (input_shape[0], length and length + -length % MULTIPLE, *input_shape[2:])


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class CutLength(keras.layers.Layer):
    """The first part of `states` [batch, padded length, dim] that is as long as `padding_mask` [batch, length]."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def call(self, states: Tensor, padding_mask: Tensor) -> Tensor:
        return states[:, : padding_mask.shape[1]]

    def compute_output_shape(
        self, states_shape: tuple[int | None, ...], padding_mask_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return (states_shape[0], padding_mask_shape[1], *states_shape[2:])


def hidden_states(backbone: keras_hub.models.XLMRobertaBackbone, layers: Iterable[keras.layers.Layer]) -> list[Tensor]:
    """Symbolic hidden states 0..L of a backbone's inputs, equal to the backbone's own for every row of every batch.

    Padded queries attend to the same keys as the others, as in the backbone.

    Args:
        backbone: `XLMRobertaBackbone`.
        layers: L Transformer layers on its embeddings: its own, or those of another backbone.

    Returns:
        list of L + 1 symbolic tensors [batch, length, hidden_dim].

    Source: `jax.nn.dot_product_attention` with `implementation="cudnn"`; its checks of layout and length.
    """
    pad, cut = PadLength(name="pad_length"), CutLength(name="cut_length")
    padding_mask = backbone.input["padding_mask"]
    # KerasHub's layers would give attention a mask [batch, 1, 1, length].
    keys = pad(padding_mask)
    attention_mask = None
    if not on_tpu():  # there KerasHub's mask is right
        attention_mask = ops.expand_dims(ops.ones_like(keys), 2) * ops.expand_dims(keys, 1)
    state = backbone.embeddings_dropout.output
    states = [state]
    state = pad(state)
    for layer in layers:
        if on_tpu():
            attend_on_tpu(layer)
        if platform() in ("gpu", "tpu"):  # a CPU has memory, and applies the function slowly
            keep_one_activation(layer)
        state = layer(state, padding_mask=keys, attention_mask=attention_mask)
        states.append(cut(state, padding_mask))
    return states
