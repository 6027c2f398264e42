"""Rematerialisation: the backward pass computes each Transformer layer again instead of keeping what is inside of it.

Of a layer, only its input is kept: 1 tensor [batch, length, hidden_dim] instead of about 16 of that size and the
attention scores. It costs one more forward pass, about a quarter of a step. Values and gradients are those of the
plain layers, dropout included.

On JAX, the products of weights and the results of attention kernels can be kept as well (`keep_products`): 6 tensors
[batch, length, hidden_dim] and one [batch, length, intermediate_dim]. Activation functions, normalisations and
attention scores are computed again. No product of a weight is, so it costs little time.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.tpu_attention import RESULTS

_MARK = "rematerializes"


def rematerialize_layers(backbone: keras_hub.models.XLMRobertaBackbone, keep_products: bool = False) -> None:
    """Makes every Transformer layer of `backbone` compute itself again in the backward pass of training.

    Nothing changes in inference, in the weights, or in what is saved: call it again for a model that was loaded. A
    second call for the same model has no further effect.

    Args:
        backbone: `XLMRobertaBackbone`, with weights.
        keep_products: bool, whether only what is cheap is computed again; on JAX.

    Raises:
        InputError: for `keep_products` on another backend.

    >>> model = build_masked_lm(ENCODER_SIZES["tiny"], vocabulary_size=1000)
    >>> rematerialize_layers(model.backbone)

    Source: Chen et al. 2016, https://arxiv.org/abs/1604.06174. `keras.RematScope` does not serve here: it makes
    `training` an array, and a state of dropout that is drawn inside of a layer does not leave it.
    """
    if keep_products and keras.backend.backend() != "jax":
        raise InputError(
            f"model.rematerialize = 'activations': the backend is {keras.backend.backend()}, and only JAX can keep "
            "some results of a layer; set KERAS_BACKEND=jax, or take 'layers'"
        )
    if keras.backend.backend() == "torch":
        from infoxlm_keras.models.torch_layers import compute_by_torch

        # Before they are wrapped: what is computed again shall be computed fast as well.
        compute_by_torch(backbone.transformer_layers)
    for layer in backbone.transformer_layers:
        if not getattr(layer.call, _MARK, False):
            layer.call = _rematerializing(layer, keep_products)


def _rematerializing(layer: keras.layers.Layer, keep_products: bool) -> Callable[..., Tensor]:
    """A `call` for `layer`, which is pure: weights and the states of dropout's seeds go in and out as tensors."""
    plain = layer.call
    inside: list[bool] = []

    def call(inputs: Tensor, padding_mask: Any = None, attention_mask: Any = None, training: Any = None) -> Tensor:
        masks = {"padding_mask": padding_mask, "attention_mask": attention_mask}
        if not training or inside or isinstance(inputs, keras.KerasTensor):
            return plain(inputs, **masks, training=training)
        seeds = layer.non_trainable_variables
        before = [keras.ops.copy(seed.value) for seed in seeds]

        # TensorFlow wants flat arguments, with a gradient each; integers are taken from outside.
        def pure(inputs, *weights):
            inside.append(True)
            try:
                output, after = layer.stateless_call(weights, before, inputs, **masks, training=True)
            finally:
                inside.pop()
            return output, after

        remat = _remat_but_products if keep_products else keras.remat
        output, after = remat(pure)(inputs, *map(keras.ops.convert_to_tensor, layer.trainable_variables))
        for seed, value in zip(seeds, after, strict=True):
            seed.assign(value)
        return output

    vars(call).update(vars(plain) if inspect.isfunction(plain) else {})
    vars(call)[_MARK] = True
    return call


def _remat_but_products(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, of which the backward pass keeps the products that no other sample enters."""
    import jax

    def kept(primitive, *arguments, **parameters):
        # Scores of attention are products too, of samples with themselves, and large.
        attention = primitive.name.startswith("dot_product_attention")
        return attention or jax.checkpoint_policies.dots_with_no_batch_dims_saveable(
            primitive, *arguments, **parameters
        )

    either = jax.checkpoint_policies.save_from_both_policies
    return jax.checkpoint(function, policy=either(kept, jax.checkpoint_policies.save_only_these_names(RESULTS)))
