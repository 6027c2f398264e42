"""Pieces drawn from a masked-LM distribution by given uniform numbers, also without ever holding all logits.

A piece is the first one whose cumulative probability exceeds the number (inversion). With numbers that are a function
of the sample, the draw does not depend on replicas, micro-batches or restarts, and no backend's generator is involved.
"""

from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.losses.chunked_masked_lm import VocabularyChunks, vocabulary_statistics


def sampled_pieces(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One piece for each prediction, without gradient.

    Args:
        logits: float32 [..., vocabulary_size].
        uniforms: float32 [...], in [0, 1).

    Returns:
        int32 [...].
    """
    cumulative = ops.cumsum(ops.softmax(ops.stop_gradient(logits), axis=-1), axis=-1)
    # The last one is 1 up to rounding.
    limits = ops.expand_dims(uniforms, -1) * cumulative[..., -1:]
    number = ops.sum(ops.cast(cumulative <= limits, "int32"), axis=-1)
    return ops.minimum(number, logits.shape[-1] - 1)


def chunked_sampled_pieces(
    features: Tensor, embeddings: Tensor, bias: Tensor, uniforms: Tensor, chunk_size: int
) -> Tensor:
    """`sampled_pieces` of `features @ embeddings.T + bias`, chunk by chunk.

    Args:
        features: [predictions, dim].
        embeddings: float32 [vocabulary_size, dim].
        bias: float32 [vocabulary_size].
        uniforms: float32 [predictions].
        chunk_size: int in 1..vocabulary_size.

    Returns:
        int32 [predictions].
    """
    features, embeddings, bias = (ops.stop_gradient(value) for value in (features, embeddings, bias))
    labels = ops.zeros_like(uniforms, dtype="int32")
    chunks = VocabularyChunks(features, embeddings, bias, labels, chunk_size)
    log_sum, _, _ = vocabulary_statistics(chunks)

    def body(index, carry):
        total, number = carry
        # 0 at columns of the chunk before.
        probabilities = ops.exp(chunks.logits(index)[0] - ops.expand_dims(log_sum, 1))
        cumulative = ops.expand_dims(total, 1) + ops.cumsum(probabilities, axis=1)
        passed = ops.logical_and(cumulative <= ops.expand_dims(uniforms, 1), chunks.own(index))
        return cumulative[:, -1], number + ops.sum(ops.cast(passed, "int32"), axis=1)

    _, number = ops.fori_loop(0, chunks.number, body, (ops.zeros_like(uniforms), labels))
    return ops.minimum(number, embeddings.shape[0] - 1)
