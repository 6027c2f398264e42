"""The feed-forward part of Transformer layers on JAX keeps one activation for its backward pass instead of two.

Both are [batch, length, intermediate_dim], the largest of a layer: the first product, which the gradient of the
activation function needs, and what the function makes of it, which the gradient of the second kernel needs. Here the
backward pass applies the function again: it reads the first product in any case. No product is computed twice.
"""

from typing import Any

import keras

from infoxlm_keras.annotations import Tensor


def keep_one_activation(layer: keras.layers.Layer) -> None:
    """Makes a KerasHub `TransformerEncoder` compute its activation function together with the second product.

    Values and gradients are those of before; what is saved of the layer, too.

    Source: Chen et al. 2016, https://arxiv.org/abs/1604.06174, section 4.1, which drops what is cheap to compute.
    """
    import jax

    widen, narrow = layer._feedforward_intermediate_dense, layer._feedforward_output_dense
    activation, of_keras = widen.activation, narrow.call
    if activation is keras.activations.linear:  # a second call
        return

    def call(inputs: Tensor, training: Any = None) -> Tensor:
        if isinstance(inputs, keras.KerasTensor):
            return of_keras(inputs, training=training)
        variables = narrow.variables

        # A function of its own for each call, and weights as arguments: JAX keeps what it has traced of a function,
        # with the values that it had taken from outside.
        def activated_product(products: Tensor, *weights: Tensor) -> Tensor:
            with keras.StatelessScope(state_mapping=zip(variables, weights, strict=True)):
                return of_keras(activation(products))

        return jax.checkpoint(activated_product)(inputs, *map(keras.ops.convert_to_tensor, variables))

    def quantized_call(inputs: Tensor, training: Any = None) -> Tensor:
        return of_quantized(activation(inputs), training=training)

    of_quantized = narrow.quantized_call
    widen.activation, narrow.call, narrow.quantized_call = keras.activations.linear, call, quantized_call
