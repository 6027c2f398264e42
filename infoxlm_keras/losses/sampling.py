"""Pieces drawn from a masked-LM distribution by given uniform numbers, also without ever holding all logits.

A piece is the first one whose cumulative probability exceeds the number (inversion). With numbers that are a function
of the sample, the draw does not depend on replicas, micro-batches or restarts, and no backend's generator is involved.

The sums are cumulated over blocks of pieces, and then within the one block of each prediction. Over all pieces that
would take five times as long (32,000 pieces on a CPU).
"""

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.losses.chunked_masked_lm import VocabularyChunks, rows_at_once

BLOCK = 128  # pieces


def sampled_pieces(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One piece for each prediction, without gradient.

    Args:
        logits: float32 [..., vocabulary_size].
        uniforms: float32 [...], in [0, 1).

    Returns:
        int32 [...].
    """
    pieces = logits.shape[-1]
    flat = ops.reshape(ops.stop_gradient(logits), (-1, pieces))
    weights = ops.exp(flat - ops.max(flat, axis=-1, keepdims=True))
    total = ops.sum(weights, axis=-1)
    drawn = _Draw(ops.reshape(uniforms, (-1,)) * total, pieces)
    drawn.pass_over(weights, 0)
    return ops.reshape(drawn.pieces(), ops.shape(uniforms))


def chunked_sampled_pieces(
    features: Tensor, embeddings: Tensor, bias: Tensor, log_sum: Tensor, uniforms: Tensor, chunk_size: int
) -> Tensor:
    """`sampled_pieces` of `features @ embeddings.T + bias`, chunk by chunk.

    Args:
        features: [predictions, dim].
        embeddings: float32 [vocabulary_size, dim].
        bias: float32 [vocabulary_size].
        log_sum: float32 [predictions], the logarithm of the sum of the exponentials of each prediction's logits;
            not used on PyTorch.
        uniforms: float32 [predictions].
        chunk_size: int in 1..vocabulary_size.

    Returns:
        int32 [predictions].
    """
    features, embeddings, bias, log_sum = (ops.stop_gradient(value) for value in (features, embeddings, bias, log_sum))
    if keras.backend.backend() == "torch":
        rows = rows_at_once(features.shape[0], embeddings.shape[0], chunk_size)
        return _sampled_by_rows(features, embeddings, bias, uniforms, rows)
    labels = ops.zeros_like(uniforms, dtype="int32")
    chunks = VocabularyChunks(features, embeddings, bias, labels, chunk_size)

    def body(index, carry):
        drawn = _Draw(uniforms, embeddings.shape[0], carry)
        # 0 at columns of the chunk before.
        drawn.pass_over(ops.exp(chunks.logits(index)[0] - ops.expand_dims(log_sum, 1)), chunks.start(index))
        return drawn.carry

    start = _Draw(uniforms, embeddings.shape[0]).carry
    return _Draw(uniforms, embeddings.shape[0], ops.fori_loop(0, chunks.number, body, start)).pieces()


def _sampled_by_rows(features, embeddings, bias, uniforms, rows):
    """`sampled_pieces`, of which each sums up the logits that it draws from: the loss rounds its own otherwise."""
    columns = ops.transpose(ops.cast(embeddings, features.dtype))
    drawn = []
    for start in range(0, max(features.shape[0], 1), rows):
        part = slice(start, start + rows)
        logits = ops.cast(ops.matmul(features[part], columns), "float32") + bias
        drawn.append(sampled_pieces(logits, uniforms[part]))
    return ops.concatenate(drawn)


class _Draw:
    """The search for the block of each prediction in which the cumulative sum passes its limit.

    Args:
        limits: float32 [predictions].
        number_of_pieces: int.
        carry: what an earlier part of the vocabulary left: the sum before the block or, until it is found, of all that
            was passed over [predictions]; the first piece of the block, -1 until it is found [predictions]; the
            weights of the block [predictions, BLOCK]. None at the beginning.
    """

    def __init__(self, limits, number_of_pieces, carry=None):
        self.limits, self.number_of_pieces = limits, number_of_pieces
        zeros = ops.zeros_like(limits)
        nothing = ops.repeat(ops.expand_dims(zeros, 1), BLOCK, axis=1)
        self.carry = (zeros, ops.cast(zeros, "int32") - 1, nothing) if carry is None else carry

    def pass_over(self, weights, first):
        """Takes the weights [predictions, n] of the pieces from `first` on."""
        before, found, block = self.carry
        blocks = -(-weights.shape[1] // BLOCK)
        weights = ops.pad(weights, ((0, 0), (0, blocks * BLOCK - weights.shape[1])))
        weights = ops.reshape(weights, (-1, blocks, BLOCK))
        sums = ops.sum(weights, axis=2)
        after = ops.expand_dims(before, 1) + ops.cumsum(sums, axis=1)
        passed = ops.sum(ops.cast(after <= ops.expand_dims(self.limits, 1), "int32"), axis=1)
        here = ops.logical_and(found < 0, passed < blocks)
        place = ops.expand_dims(ops.minimum(passed, blocks - 1), 1)
        own = ops.take_along_axis(weights, ops.expand_dims(place, 2), axis=1)[:, 0]
        left = ops.take_along_axis(after - sums, place, axis=1)[:, 0]
        self.carry = (
            ops.where(here, left, ops.where(found < 0, after[:, -1], before)),
            ops.where(here, first + BLOCK * place[:, 0], found),
            ops.where(ops.expand_dims(here, 1), own, block),
        )

    def pieces(self):
        """int32 [predictions]; the last piece where rounding leaves the whole sum below the limit."""
        before, found, block = self.carry
        cumulative = ops.expand_dims(before, 1) + ops.cumsum(block, axis=1)
        passed = ops.sum(ops.cast(cumulative <= ops.expand_dims(self.limits, 1), "int32"), axis=1)
        last = self.number_of_pieces - 1
        return ops.where(found < 0, last, ops.minimum(found + ops.minimum(passed, BLOCK - 1), last))
