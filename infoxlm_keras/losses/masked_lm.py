"""Masked-LM cross-entropy, over the masked positions only."""

from typing import NamedTuple

import keras_hub
from keras import ops

from infoxlm_keras.annotations import Tensor


class MaskedLMLoss(NamedTuple):
    """The sum of the losses, and the number of predictions whose likeliest piece is right: float32 scalars.

    The loss by chunks adds float32 [predictions], the logarithm of the sum of the exponentials of each one's logits.
    """

    loss_sum: Tensor
    correct_sum: Tensor
    log_sum: Tensor | None = None


def masked_lm_logits(
    masked_lm: keras_hub.models.XLMRobertaMaskedLM, hidden_state: Tensor, mask_positions: Tensor
) -> Tensor:
    """Vocabulary logits at the masked positions, and nowhere else.

    The product with the embedding is of the head's compute dtype. KerasHub's head would compute it in float32 in any
    case: embeddings are not cast there.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`; its head is tied to the token embedding.
        hidden_state: [batch, length, dim], the last hidden state.
        mask_positions: int32 [batch, predictions], positions in 0..length-1; unused slots hold 0.

    Returns:
        float32 [batch * predictions, vocabulary_size].
    """
    features = masked_lm_features(masked_lm, hidden_state, mask_positions)
    head = masked_lm.masked_lm_head
    rows = ops.cast(ops.convert_to_tensor(head.token_embedding.embeddings), features.dtype)
    products = ops.matmul(features, ops.transpose(rows))
    return ops.cast(products, "float32") + ops.convert_to_tensor(head._bias)


def masked_lm_features(
    masked_lm: keras_hub.models.XLMRobertaMaskedLM, hidden_state: Tensor, mask_positions: Tensor
) -> Tensor:
    """What the head multiplies with the embedding: dense + GELU + layer norm of the states at the masked positions.

    Arguments as `masked_lm_logits`; returns [batch * predictions, dim] in the head's compute dtype.
    """
    head = masked_lm.masked_lm_head
    at_masks = ops.take_along_axis(hidden_state, ops.expand_dims(mask_positions, -1), axis=1)
    features = head._intermediate_layer_norm(head._intermediate_dense(at_masks))  # [batch, predictions, dim]
    return ops.reshape(features, (-1, features.shape[-1]))


def masked_lm_loss(logits: Tensor, mask_ids: Tensor, mask_weights: Tensor) -> MaskedLMLoss:
    """Summed cross-entropy of the true tokens: `sum_i w_i (logsumexp(z_i) - z_i[y_i])`.

    Args:
        logits: float32 [predictions, vocabulary_size].
        mask_ids: int32 [predictions], the tokens that stood there.
        mask_weights: float32 [predictions], 1 for a prediction and 0 for an unused slot.

    Returns:
        MaskedLMLoss of two float32 scalars: the sum of the losses, and the number of right first guesses.
    """
    losses = ops.sparse_categorical_crossentropy(mask_ids, logits, from_logits=True)  # [predictions]
    correct = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), mask_ids), "float32")
    return MaskedLMLoss(ops.sum(losses * mask_weights), ops.sum(correct * mask_weights))
