"""Where the two sentences of TLM's sequence `<s> first </s> second </s>` stand, and its tokens before masking."""

from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.tokenizer import END_ID


def sentence_spans(token_ids: Tensor) -> tuple[Tensor, Tensor]:
    """(bool [batch, length], bool [batch, length]): True at the tokens of the first, and of the second sentence.

    Special tokens and padding belong to neither. Masking hides no special token, so the masked sequence serves too.

    Args:
        token_ids: int32 [batch, length].
    """
    ends = ops.cast(ops.equal(token_ids, END_ID), "int32")
    ends_before = ops.cumsum(ends, axis=1) - ends
    is_ordinary = ops.equal(ends, 0)
    # Position 0 is <s>.
    after_start = ops.cast(ops.arange(ops.shape(token_ids)[1]), "int32") > 0
    first = ops.logical_and(ops.logical_and(ops.equal(ends_before, 0), is_ordinary), ops.expand_dims(after_start, 0))
    return first, ops.logical_and(ops.equal(ends_before, 1), is_ordinary)


def placed(token_ids: Tensor, positions: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """`token_ids` with `ids` at `positions`, where `weights` is not 0.

    With what `mask_tokens` gives it restores the tokens that masking hid. It compares positions instead of writing to
    them, so that it is one operation that every compiler fuses; of several ids for a position the largest counts.

    Args:
        token_ids: int32 [batch, length].
        positions, ids: int32 [batch, predictions].
        weights: float32 [batch, predictions].

    Returns:
        int32 [batch, length].
    """
    places = ops.cast(ops.arange(ops.shape(token_ids)[1]), "int32")
    at = ops.equal(ops.expand_dims(positions, 2), ops.reshape(places, (1, 1, -1)))  # [batch, predictions, length]
    at = ops.logical_and(at, ops.expand_dims(ops.not_equal(weights, 0.0), 2))
    found = ops.max(ops.where(at, ops.expand_dims(ids, 2), -1), axis=1)
    return ops.where(found >= 0, found, token_ids)
