"""Model FLOPs: the floating-point operations of the matrix products that a training step needs, in closed form.

With H = hidden_dim, I = intermediate_dim, V = vocabulary_size, and n sequences of L tokens with padding, forward:

    one Transformer layer    n L (8 H^2 + 4 H I + 4 L H)
    masked-LM head           2 P (H^2 + H V)                 P = n * predictions a sequence
    projection of vectors    2 n H^2
    contrast                 2 n H N                         N = candidates beside the positive
    products of M with N vectors of each sequence   2 n M N H

8 H^2 are the four matrices of attention (query, key, value, output), 2 H^2 each. 4 H I are the two matrices of the
feed-forward layer. 4 L H are the two products of attention with all L tokens (scores, and the weighted sum). A product
of which both factors are trained has two more of its size in the backward pass, so it counts 3 times (`TRAINED`). The
contrast's keys are constants: it counts twice. What the moving average computes counts once.

As usual (Chowdhery et al. 2022, PaLM, appendix B), elementwise operations, look-ups, the optimizer, and what is
computed again to save memory are not counted, so the numbers do not depend on the implementation. Frozen layers are
counted as if they were trained.

All arguments are numbers, or float32 scalars where a batch's shape is known at run time only.
"""

import keras_hub

from infoxlm_keras.annotations import Tensor

# A matrix product and the two of its backward pass.
TRAINED = 3
# With a constant factor: the product and one of its backward pass.
TRAINED_BY_CONSTANT = 2

Number = float | Tensor


def encoder_flops(
    backbone: keras_hub.models.XLMRobertaBackbone, layers: int, sequences: Number, length: Number
) -> Number:
    """Forward FLOPs of the first `layers` Transformer layers.

    Args:
        backbone: `XLMRobertaBackbone`; its `hidden_dim` and `intermediate_dim` are read.
        layers: int.
        sequences, length: numbers.

    Example:
    ```python
    TRAINED * encoder_flops(backbone, 12, 32, 128)
    ```
    """
    width, inner = float(backbone.hidden_dim), float(backbone.intermediate_dim)
    return layers * sequences * length * (8 * width * width + 4 * width * inner + 4 * width * length)


def masked_lm_head_flops(backbone: keras_hub.models.XLMRobertaBackbone, predictions: Number) -> Number:
    """Forward FLOPs of the masked-LM head at `predictions` positions."""
    width = float(backbone.hidden_dim)
    return 2 * predictions * width * (width + backbone.vocabulary_size)


def projection_flops(width: int, vectors: Number) -> Number:
    """Forward FLOPs of a square projection of `vectors` vectors of `width` numbers."""
    return 2.0 * vectors * width * width


def contrast_flops(width: int, queries: Number, candidates: Number) -> Number:
    """Forward FLOPs of the similarities of `queries` vectors with `candidates` vectors of `width` numbers."""
    return 2.0 * queries * candidates * width


def pairwise_flops(width: int, sequences: Number, queries: Number, keys: Number) -> Number:
    """Forward FLOPs of the products of `queries` with `keys` vectors of `width` numbers, in each of `sequences`."""
    return 2.0 * sequences * queries * keys * width
