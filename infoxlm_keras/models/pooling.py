"""From the hidden states of a sequence to one vector."""

from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.errors import InputError

# Padding takes this value for the maximum over tokens.
BELOW_ALL = -3e38


def check_pooling(pooling: str) -> None:
    """Raises InputError unless `pooling` is one of `POOLINGS`."""
    if pooling not in POOLINGS:
        raise InputError(f"pooling = {pooling!r}: must be one of {', '.join(POOLINGS)}")


def pool(hidden_state: Tensor, padding_mask: Tensor, pooling: str) -> Tensor:
    """One float32 vector a sequence.

    Args:
        hidden_state: [batch, length, dim], any float dtype.
        padding_mask: [batch, length], 1 for a token and 0 for padding.
        pooling: "cls" (the vector at `<s>`, as the paper's contrast), "mean" (over all tokens, special ones included,
            as the published Tatoeba evaluation) or "max" (the largest value of each dimension over the same tokens).

    Returns:
        float32 [batch, dim]; zeros for a row without a token, with "cls" for one whose first place is padding.
    """
    check_pooling(pooling)
    if pooling == "cls":
        first = ops.cast(hidden_state[:, 0], "float32")
        return ops.where(ops.cast(padding_mask[:, :1], "float32") > 0, first, 0.0)
    hidden_state = ops.cast(hidden_state, "float32")
    weights = ops.expand_dims(ops.cast(padding_mask, "float32"), -1)  # [batch, length, 1]
    if pooling == "max":
        largest = ops.max(ops.where(weights > 0, hidden_state, BELOW_ALL), axis=1)
        return ops.where(ops.max(weights, axis=1) > 0, largest, 0.0)
    total = ops.sum(hidden_state * weights, axis=1)
    return total / ops.maximum(ops.sum(weights, axis=1), 1.0)


def l2_normalize(vectors: Tensor, epsilon: float = 1e-12) -> Tensor:
    """`vectors` [..., dim] scaled to unit length; a zero vector stays zero."""
    return vectors * ops.rsqrt(ops.maximum(ops.sum(ops.square(vectors), axis=-1, keepdims=True), epsilon))
