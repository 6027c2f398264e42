"""Transformer layers on PyTorch: as few kernels a layer as its mathematics needs.

Of a Transformer layer and its backward pass Keras' layers make some 60 small operations that compute nothing: they
cast each weight in each pass, transpose around the products of attention's heads, and build the mask anew. A GPU is
done with one before the processor has started the next. Here weights are cast once a step, queries, keys and values
are one product, and full sequences have no mask, so that the fastest attention kernels take them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import keras_hub
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.torch_program import program

# Places of the layer norms' weights among those after queries, keys and values.
NORM_WEIGHTS = (2, 3, 8, 9)


class TorchLayer:
    """What computes one KerasHub `TransformerEncoder` of an XLM-R backbone in a training step on PyTorch.

    Values and gradients are those of the layer up to rounding. With dropout in training, scores and dropout masks are
    Keras' own, from the layer's seeds. Keras computes the layer outside of `weights_cast_once`, where each query has
    its own mask or none is given, where attention scores are asked for, without fused kernels
    (`keras.config.disable_flash_attention`), and with LoRA or quantized weights.

    Within `compiling(True)` `torch.compile` fuses its operations, where nothing is dropped.

    Args:
        layer: `keras_hub.layers.TransformerEncoder`, built, with the layer norms after its two parts and exact GELU.
    """

    def __init__(self, layer: keras_hub.layers.TransformerEncoder) -> None:
        self.layer = layer
        self.of_keras = layer.call
        self.heads = layer.num_heads
        self.step: _Step | None = None
        self.weights: tuple[Tensor, ...] = ()

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
        plain = padding_mask is not None and attention_mask is None and not return_attention_scores
        if self.step is None or not plain or not fused or isinstance(inputs, keras.KerasTensor):
            return self.of_keras(inputs, padding_mask, attention_mask, training, return_attention_scores)
        if training and layer.dropout:
            return self._with_dropout(inputs, padding_mask)
        mask = self.step.attention_mask(padding_mask, inputs.dtype)
        return program(transformer_layer)(inputs, mask, self.heads, layer.layer_norm_epsilon, *self.weights)

    def dense_parts(self) -> list[keras.layers.Layer]:
        """The layers with kernels, in the order of their use."""
        layer, attention = self.layer, self.layer._self_attention_layer
        of_attention = [attention._query_dense, attention._key_dense, attention._value_dense, attention._output_dense]
        return [*of_attention, layer._feedforward_intermediate_dense, layer._feedforward_output_dense]

    def begin(self, step: _Step) -> None:
        """Takes the weights as they are; until `end` they are used."""
        parts = self.dense_parts()
        norms = [self.layer._self_attention_layer_norm, self.layer._feedforward_layer_norm]
        dtypes = {part.compute_dtype for part in (self.layer, *parts, *norms)}
        if len(dtypes) > 1 or any(part.quantization_mode is not None or part.lora_enabled for part in parts):
            return  # Keras computes something else than one product in one precision
        *of_attention, widen, narrow = [(part.kernel.value, part.bias.value) for part in parts]
        first, last = [(norm.gamma.value, norm.beta.value) for norm in norms]
        in_order = [*of_attention, first, widen, narrow, last]
        self.weights = packed(
            getattr(torch, self.layer.compute_dtype), [weight for pair in in_order for weight in pair]
        )
        self.step = step

    def end(self) -> None:
        """Forgets the weights of the step."""
        self.step, self.weights = None, ()

    def _with_dropout(self, states, padding_mask):
        layer, attention, weights = self.layer, self.layer._self_attention_layer, self.weights
        parts = [part.transpose(1, 2) for part in _attention_inputs(states, self.heads, *weights[:2])]
        mask = padding_mask[:, None].bool()
        attended, _ = attention._compute_attention(*parts, attention_mask=mask, training=True)
        attended = functional.linear(attended.flatten(2), weights[2].t(), weights[3])
        epsilon = layer.layer_norm_epsilon
        states = _norm(states + layer._self_attention_dropout(attended, training=True), epsilon, *weights[4:6])
        inner = _feedforward(states, *weights[6:10])
        return _norm(states + layer._feedforward_dropout(inner, training=True), epsilon, *weights[10:])


class _Step:
    """What the layers of one step share: the newest padding mask, in the form that attention takes."""

    def __init__(self):
        self.newest: tuple[Any, torch.dtype | None, Tensor | None] = (None, None, None)

    def attention_mask(self, padding_mask, dtype):
        """What is added to the scores, in `dtype` [batch, 1, 1, length]; None for a mask without padding.

        A row of nothing but padding attends to all positions alike, as in Keras. Half of the lowest number: kernels
        multiply by 1.44.
        """
        # A teacher may compute in another dtype on the same mask.
        if self.newest[0] is not padding_mask or self.newest[1] != dtype:
            is_token = padding_mask[:, None, None, :].bool()
            # The processor waits once a pass for the answer, and a kernel without a mask is faster and smaller.
            added = None if bool(is_token.all()) else torch.zeros_like(is_token, dtype=dtype)
            if added is not None:
                added.masked_fill_(~is_token, 0.5 * torch.finfo(dtype).min)
            self.newest = (padding_mask, dtype, added)
        return self.newest[2]


def compute_by_torch(layers: Iterable[keras.layers.Layer]) -> list[TorchLayer]:
    """Makes every Transformer layer of XLM-R among `layers` compute by a `TorchLayer`; those that do already stay.

    Args:
        layers: layers, of any class. Others, and such with another activation function, are left as they are.

    Returns:
        list of the `TorchLayer`s.
    """
    found = []
    for layer in layers:
        if type(layer) is not keras_hub.layers.TransformerEncoder or not layer.built or layer.normalize_first:
            continue
        of_layer = torch_layer(layer)
        if of_layer is None and _is_exact_gelu(layer.activation):
            of_layer = TorchLayer(layer)
            layer.call = _as_function(of_layer)
        if of_layer is not None:
            found.append(of_layer)
    return found


def torch_layer(layer: keras.layers.Layer) -> TorchLayer | None:
    """The `TorchLayer` that computes `layer`, or None."""
    return getattr(layer.call, "torch_layer", None)


@contextlib.contextmanager
def weights_cast_once(layers: Iterable[TorchLayer]) -> Iterator[None]:
    """Context of a training step in which `layers` compute, with the weights that they have at its beginning.

    Gradients go through the cast. Enter it outside of every Keras layer: within one, Keras gives weights that are cast
    already.
    """
    layers, step = list(layers), _Step()
    try:
        for layer in layers:
            layer.begin(step)
        yield
    finally:
        for layer in layers:
            layer.end()


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
        mask: of the states' dtype [batch, 1, 1, length], what is added to the scores of each key; None: nothing.
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
    return product.view(batch, length, 3, heads, product.shape[-1] // (3 * heads)).permute(2, 0, 3, 1, 4).unbind(0)


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


def packed(dtype: torch.dtype, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The weights of a layer in `dtype`, as `transformer_layer` takes them: those of query, key and value in one.

    Args:
        dtype: of the layer's computation.
        weights: 16 tensors: kernel and bias of query, key, value and output, then as of `transformer_layer`.
    """
    if any(weight.dtype != dtype for weight in weights):
        return _Packed.apply(dtype, *weights)
    in_kernel = torch.cat([kernel.flatten(1) for kernel in weights[0:6:2]], 1)
    in_bias = torch.cat([bias.flatten() for bias in weights[1:6:2]])
    return (in_kernel, in_bias, weights[6].flatten(0, 1), *weights[7:])


class _Packed(torch.autograd.Function):
    """`packed` in another dtype.

    It keeps nothing for the backward pass, so that each of the several backward passes of a step may go through it.
    """

    @staticmethod
    def forward(ctx, dtype, *weights):
        ctx.shapes = [weight.shape for weight in weights]
        ctx.dtypes = [weight.dtype for weight in weights]
        ctx.set_materialize_grads(False)
        kernels = [kernel.flatten(1) for kernel in weights[0:6:2]]
        biases = [bias.flatten() for bias in weights[1:6:2]]
        sources = [weights[6].flatten(0, 1), *weights[7:]]
        rest = [torch.empty_like(source, dtype=dtype) for source in sources]
        if not sources[0].is_cuda:
            # Normalisation is in float32 there, see `_norm`.
            for index in NORM_WEIGHTS:
                rest[index] = torch.empty_like(sources[index])
        dim, inner = kernels[0].shape
        in_kernel = kernels[0].new_empty([dim, 3 * inner], dtype=dtype)
        in_bias = biases[0].new_empty([3 * inner], dtype=dtype)
        # Apart from the others: for parts of a tensor PyTorch copies one after the other.
        torch._foreach_copy_(list(in_kernel.split(inner, 1)), kernels)
        torch._foreach_copy_([*in_bias.split(inner), *rest], [*biases, *sources])
        return (in_kernel, in_bias, *rest)

    @staticmethod
    @once_differentiable
    def backward(ctx, in_kernel, in_bias, *rest):
        kernels = (None,) * 3 if in_kernel is None else in_kernel.chunk(3, 1)
        biases = (None,) * 3 if in_bias is None else in_bias.chunk(3)
        parts = [part for pair in zip(kernels, biases, strict=True) for part in pair] + list(rest)
        wanted = [part is not None and ctx.needs_input_grad[index + 1] for index, part in enumerate(parts)]
        sources = [part.reshape(shape) for part, shape, want in zip(parts, ctx.shapes, wanted, strict=True) if want]
        dtypes = [dtype for dtype, want in zip(ctx.dtypes, wanted, strict=True) if want]
        found = [torch.empty_like(part, dtype=dtype) for part, dtype in zip(sources, dtypes, strict=True)]
        if found:
            torch._foreach_copy_(found, sources)
        gradients = iter(found)
        return (None, *(next(gradients) if want else None for want in wanted))


def _is_exact_gelu(activation):
    numbers = torch.linspace(-4.0, 4.0, 17, device="cpu")
    try:
        found = activation(numbers)
    except (TypeError, ValueError, RuntimeError):
        return False
    return isinstance(found, torch.Tensor) and torch.allclose(found.cpu(), functional.gelu(numbers), atol=1e-6)


def _as_function(of_layer):
    """`of_layer` as a function: Keras looks at the arguments of a layer's `call`."""

    def call(inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        return of_layer(inputs, padding_mask, attention_mask, training, return_attention_scores)

    vars(call)["torch_layer"] = of_layer
    return call
