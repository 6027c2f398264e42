"""Transformer layers on PyTorch: as few kernels a layer as its mathematics needs.

Of a Transformer layer and its backward pass Keras' layers make some 60 small operations that compute nothing: they
cast each weight in each pass, transpose around the products of attention's heads, and build the mask anew. A GPU is
done with one before the processor has started the next. Here weights are cast once a step, queries, keys and values
are one product, and full sequences have no mask, so that the fastest attention kernels take them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import keras_hub
import torch
from keras import ops
from torch.nn import functional

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.torch_program import program

# Places of the layer norms' weights among those after queries, keys and values.
NORM_WEIGHTS = (2, 3, 8, 9)


class TorchLayer:
    """What computes one KerasHub `TransformerEncoder` of an XLM-R backbone on PyTorch.

    Values and gradients are those of the layer up to rounding. With dropout in training, scores and dropout masks are
    Keras' own, from the layer's seeds. Keras computes the layer where each query has its own mask, where attention
    scores are asked for, and without fused kernels (`keras.config.disable_flash_attention`).

    Within `compiling(True)` `torch.compile` fuses its operations, where nothing is dropped.

    Args:
        layer: `keras_hub.layers.TransformerEncoder`, built, with the layer norms after its two parts.
    """

    def __init__(self, layer: keras_hub.layers.TransformerEncoder) -> None:
        self.layer = layer
        self.of_keras = layer.call
        self.heads = layer.num_heads
        self._of_step: tuple[Tensor, ...] | None = None

    def __call__(
        self,
        inputs: Tensor,
        padding_mask: Any = None,
        attention_mask: Any = None,
        training: Any = None,
        return_attention_scores: bool = False,
    ) -> Any:
        """As `TransformerEncoder.call`."""
        layer = self.layer
        fused = layer._self_attention_layer._flash_attention is not False
        if isinstance(inputs, keras.KerasTensor) or attention_mask is not None or return_attention_scores or not fused:
            return self.of_keras(inputs, padding_mask, attention_mask, training, return_attention_scores)
        mask = None if padding_mask is None else _key_mask(padding_mask)
        weights = self.weights()
        if training and layer.dropout:
            return self._with_dropout(inputs, mask, weights)
        return program(transformer_layer)(inputs, mask, self.heads, layer.layer_norm_epsilon, *weights)

    def weights(self) -> tuple[Tensor, ...]:
        """The weights in the compute dtype, as `transformer_layer` takes them."""
        return self._packed() if self._of_step is None else self._of_step

    def _packed(self):
        dtype = getattr(torch, self.layer.compute_dtype)
        return _Packed.apply(dtype, *map(ops.convert_to_tensor, self.variables()))

    def variables(self) -> list[Any]:
        """Kernels and biases of query, key and value; then of the other parts, in the order of their use.

        Variables, or tensors where Keras adds something to a kernel (LoRA).
        """
        layer = self.layer
        attention = layer._self_attention_layer
        parts = (attention._query_dense, attention._key_dense, attention._value_dense, attention._output_dense)
        norm, widen = layer._self_attention_layer_norm, layer._feedforward_intermediate_dense
        narrow, last_norm = layer._feedforward_output_dense, layer._feedforward_layer_norm
        dense = [variable for part in parts for variable in (part.kernel, part.bias)]
        rest = [norm.gamma, norm.beta, widen.kernel, widen.bias, narrow.kernel, narrow.bias]
        return [*dense, *rest, last_norm.gamma, last_norm.beta]

    def _with_dropout(self, states, mask, weights):
        layer, attention = self.layer, self.layer._self_attention_layer
        parts = [part.transpose(1, 2) for part in _attention_inputs(states, self.heads, *weights[:2])]
        mask = None if mask is None else mask[:, 0]
        attended, _ = attention._compute_attention(*parts, attention_mask=mask, training=True)
        attended = functional.linear(attended.flatten(2), weights[2].t(), weights[3])
        epsilon = layer.layer_norm_epsilon
        states = _norm(states + layer._self_attention_dropout(attended, training=True), epsilon, *weights[4:6])
        inner = _feedforward(states, *weights[6:10])
        return _norm(states + layer._feedforward_dropout(inner, training=True), epsilon, *weights[10:])


def compute_by_torch(layers: Iterable[keras.layers.Layer]) -> list[TorchLayer]:
    """Makes every `TransformerEncoder` among `layers` compute by a `TorchLayer`; those that do already stay.

    Args:
        layers: layers, of any class.

    Returns:
        list of the `TorchLayer`s.
    """
    found = []
    for layer in layers:
        if not isinstance(layer, keras_hub.layers.TransformerEncoder) or layer.normalize_first:
            continue
        of_layer = torch_layer(layer)
        if of_layer is None:
            of_layer = TorchLayer(layer)
            layer.call = _as_function(of_layer)
        found.append(of_layer)
    return found


def torch_layer(layer: keras.layers.Layer) -> TorchLayer | None:
    """The `TorchLayer` that computes `layer`, or None."""
    return getattr(layer.call, "torch_layer", None)


@contextlib.contextmanager
def weights_cast_once(layers: Iterable[TorchLayer]) -> Iterator[None]:
    """Context in which `layers` use what their weights are at its beginning. Gradients go through the cast.

    Enter it outside of every Keras layer: within one, Keras gives weights that are cast already.
    """
    layers = list(layers)
    try:
        for layer in layers:
            layer._of_step = layer._packed()
        yield
    finally:
        for layer in layers:
            layer._of_step = None


def transformer_layer(
    states: Tensor,
    mask: Tensor | None,
    heads: int,
    epsilon: float,
    in_kernel: Tensor,
    in_bias: Tensor,
    out_kernel: Tensor,
    out_bias: Tensor,
    gamma: Tensor,
    beta: Tensor,
    widen_kernel: Tensor,
    widen_bias: Tensor,
    narrow_kernel: Tensor,
    narrow_bias: Tensor,
    last_gamma: Tensor,
    last_beta: Tensor,
) -> Tensor:
    """A Transformer layer with the layer norm after each of its two parts, and exact GELU.

    Args:
        states: [batch, length, dim].
        mask: bool [batch, 1, 1, length], the keys that are attended to; None: all.
        heads: int.
        epsilon: float, of the layer norms.
        in_kernel, in_bias: [dim, 3 dim] and [3 dim], of queries, keys and values.
        out_kernel, out_bias: [dim, dim] and [dim].
        gamma, beta, last_gamma, last_beta: [dim], of the layer norms.
        widen_kernel, widen_bias, narrow_kernel, narrow_bias: of the feed-forward part; kernels are [inputs, outputs].

    Returns:
        As `states`.

    Source: Vaswani et al. 2017, section 3; Conneau et al. 2020 (XLM-R).
    """
    parts = _attention_inputs(states, heads, in_kernel, in_bias)
    query, key, value = parts
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    attended = functional.linear(attended.transpose(1, 2).flatten(2), out_kernel.t(), out_bias)
    states = _norm(states + attended, epsilon, gamma, beta)
    inner = _feedforward(states, widen_kernel, widen_bias, narrow_kernel, narrow_bias)
    return _norm(states + inner, epsilon, last_gamma, last_beta)


def _attention_inputs(states, heads, kernel, bias):
    """Queries, keys and values [batch, heads, length, head_dim]."""
    batch, length, _ = states.shape
    product = functional.linear(states, kernel.t(), bias)
    return product.view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)


def _feedforward(states, widen_kernel, widen_bias, narrow_kernel, narrow_bias):
    inner = functional.gelu(functional.linear(states, widen_kernel.t(), widen_bias))
    return functional.linear(inner, narrow_kernel.t(), narrow_bias)


def _norm(states, epsilon, gamma, beta):
    if states.is_cuda or states.dtype == torch.float32:
        return functional.layer_norm(states, gamma.shape, gamma, beta, epsilon)
    # In half precision the CPU's kernel adds the gradients of all rows up in half precision: for 4,096 rows a third of
    # the gradient of `beta` is wrong.
    normed = functional.layer_norm(states.float(), gamma.shape, gamma.float(), beta.float(), epsilon)
    return normed.to(states.dtype)


class _Packed(torch.autograd.Function):
    """The weights of a layer in another dtype, those of query, key and value in one.

    It keeps nothing for the backward pass, so that each of the several backward passes of a step may go through it.
    """

    @staticmethod
    def forward(ctx, dtype, *weights):
        kernels = [kernel.detach().flatten(1) for kernel in weights[0:6:2]]
        biases = [bias.detach().flatten() for bias in weights[1:6:2]]
        ctx.shapes = [weight.shape for weight in weights]
        ctx.dtypes = [weight.dtype for weight in weights]
        ctx.set_materialize_grads(False)
        out_kernel = weights[6].detach().flatten(0, 1)
        sources = [*kernels, *biases, out_kernel, *(weight.detach() for weight in weights[7:])]
        dim, inner = kernels[0].shape
        in_kernel = out_kernel.new_empty([dim, 3 * inner], dtype=dtype)
        in_bias = out_kernel.new_empty([3 * inner], dtype=dtype)
        rest = [torch.empty_like(source, dtype=dtype) for source in sources[6:]]
        if not out_kernel.is_cuda:
            # Normalisation is in float32 there, see `_norm`.
            for index in NORM_WEIGHTS:
                rest[index] = torch.empty_like(sources[6 + index])
        torch._foreach_copy_([*in_kernel.split(inner, 1), *in_bias.split(inner), *rest], sources)
        return (in_kernel, in_bias, *rest)

    @staticmethod
    def backward(ctx, in_kernel, in_bias, *rest):
        kernels = (None,) * 3 if in_kernel is None else in_kernel.chunk(3, 1)
        biases = (None,) * 3 if in_bias is None else in_bias.chunk(3)
        parts = [part for pair in zip(kernels, biases, strict=True) for part in pair] + list(rest)
        wanted = [index for index, part in enumerate(parts) if part is not None and ctx.needs_input_grad[index + 1]]
        sources = [parts[index].reshape(ctx.shapes[index]) for index in wanted]
        gradients = [
            torch.empty(ctx.shapes[index], dtype=ctx.dtypes[index], device=parts[index].device) for index in wanted
        ]
        if wanted:
            torch._foreach_copy_(gradients, sources)
        found = dict(zip(wanted, gradients, strict=True))
        return (None, *(found.get(index) for index in range(len(parts))))


class _Masks:
    """The newest padding mask and what it is for attention: all layers of a pass share it."""

    def __init__(self):
        self.padding_mask: Any = None
        self.mask: Tensor | None = None
        self.version = -1


_newest = _Masks()


def _key_mask(padding_mask):
    """Bool [batch, 1, 1, length], or None for a mask without padding."""
    if _newest.padding_mask is not padding_mask or _newest.version != padding_mask._version:
        is_token = padding_mask.bool()
        # The processor waits once a pass for the answer, and a kernel without a mask is faster and smaller.
        _newest.mask = None if bool(is_token.all()) else is_token[:, None, None, :]
        _newest.padding_mask, _newest.version = padding_mask, padding_mask._version
    return _newest.mask


def _as_function(of_layer):
    """`of_layer` as a function: Keras looks at the arguments of a layer's `call`."""

    def call(inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        return of_layer(inputs, padding_mask, attention_mask, training, return_attention_scores)

    vars(call)["torch_layer"] = of_layer
    return call
