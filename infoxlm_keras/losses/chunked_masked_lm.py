"""Masked-LM cross-entropy over a large vocabulary without ever holding all logits.

128 blocks of 512 tokens have 9,856 predictions; against 250,002 pieces their logits fill 9.9 GB, and their gradient
as much again. Here the vocabulary is processed in chunks, in two passes. The first pass gives the logarithm of the sum
of exponentials, as a running maximum and a running sum. The second pass gives the gradient and computes each chunk's
logits again. This costs a third more arithmetic in this layer and needs memory for one chunk only. So it is on
TensorFlow and JAX; on PyTorch `torch_masked_lm` takes chunks of the predictions.
"""

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.losses.loop_chunks import empty_array, set_chunk, whole_array
from infoxlm_keras.losses.masked_lm import MaskedLMLoss

# The logit of a column outside the chunk: its exponential is 0, and every sum stays finite.
NO_LOGIT = -1e30


def chunked_masked_lm_loss(
    features: Tensor,
    embeddings: Tensor,
    bias: Tensor,
    mask_ids: Tensor,
    mask_weights: Tensor,
    chunk_size: int,
    training: bool = True,
) -> MaskedLMLoss:
    """`masked_lm_loss` of `features @ embeddings.T + bias`, and its gradient, chunk by chunk.

    The gradient with respect to the logits z_i is that of the plain formula, `w_i (softmax(z_i) - onehot(y_i))`. It is
    computed together with the loss, and given back when the loss is differentiated.

    Args:
        features: [predictions, dim], what the head makes of the hidden states; float32 or half precision.
        embeddings: float32 [vocabulary_size, dim], the tied token embedding.
        bias: float32 [vocabulary_size].
        mask_ids: int32 [predictions].
        mask_weights: float32 [predictions].
        chunk_size: int in 1..vocabulary_size, pieces in a chunk.
        training: bool, False leaves the gradient out; on PyTorch it is computed if autograd asks for it.

    Returns:
        `MaskedLMLoss`; its `log_sum` has no gradient.
    """
    vocabulary_size = embeddings.shape[0]
    if keras.backend.backend() == "torch":
        from infoxlm_keras.losses.torch_masked_lm import masked_lm_loss_by_rows

        rows = rows_at_once(features.shape[0], vocabulary_size, chunk_size)
        return masked_lm_loss_by_rows(features, embeddings, bias, mask_ids, mask_weights, rows)
    constant = [ops.stop_gradient(value) for value in (features, embeddings, bias)]
    chunks = VocabularyChunks(constant[0], constant[1], constant[2], mask_ids, chunk_size)
    log_sum, label_logits, best_pieces = vocabulary_statistics(chunks)
    loss_sum = ops.sum((log_sum - label_logits) * mask_weights)
    correct_sum = ops.sum(ops.cast(ops.equal(best_pieces, mask_ids), "float32") * mask_weights)
    if not training:
        return MaskedLMLoss(loss_sum, correct_sum, log_sum)
    gradients = _gradients(chunks, log_sum, mask_weights, vocabulary_size)
    values = [ops.convert_to_tensor(value) for value in (features, embeddings, bias)]
    return MaskedLMLoss(_with_gradients(loss_sum, values, gradients), correct_sum, log_sum)


def vocabulary_chunk(predictions: int, vocabulary_size: int, max_logits: int) -> int:
    """int: pieces a chunk so that `predictions` x chunk is at most `max_logits`; the whole vocabulary if that fits.

    Chunks are about as large as they must be for their number: the last one computes what it repeats of the one before
    it.
    """
    if predictions * vocabulary_size <= max_logits:
        return vocabulary_size
    most = max(max_logits // predictions, 16)
    # Whole tiles of the matrix units where there is room for one.
    tile = 128 if most >= 128 else 1
    number = -(-vocabulary_size // (most // tile * tile))
    return min(vocabulary_size, -(-vocabulary_size // (number * tile)) * tile)


def rows_at_once(predictions: int, vocabulary_size: int, chunk_size: int) -> int:
    """int: how many predictions have as many logits of all pieces as all predictions have of `chunk_size` pieces."""
    return max(1, predictions * chunk_size // vocabulary_size)


class VocabularyChunks:
    """The logits of one chunk. The last chunk ends with the vocabulary and masks the pieces of the chunk before it.

    Args:
        features, embeddings, bias, mask_ids: as of `chunked_masked_lm_loss`.
        size: int, pieces a chunk.

    Attributes:
        number: int, of chunks.
    """

    def __init__(self, features: Tensor, embeddings: Tensor, bias: Tensor, mask_ids: Tensor, size: int) -> None:
        self.features, self.embeddings, self.bias = features, embeddings, bias
        self.labels = ops.expand_dims(mask_ids, 1)  # [predictions, 1]
        self.size = size
        self.number = -(-embeddings.shape[0] // size)

    def start(self, index: int | Tensor) -> Tensor:
        """int32 scalar, the first piece of chunk `index`."""
        return ops.minimum(index * self.size, self.embeddings.shape[0] - self.size)

    def rows(self, index: int | Tensor) -> Tensor:
        """[chunk, dim], the chunk's embeddings."""
        return ops.slice(self.embeddings, (self.start(index), 0), (self.size, self.embeddings.shape[1]))

    def logits(self, index: int | Tensor) -> tuple[Tensor, Tensor]:
        """(float32 [predictions, chunk], bool [predictions, chunk]: True at each prediction's label)."""
        rows = ops.cast(self.rows(index), self.features.dtype)
        logits = ops.cast(ops.matmul(self.features, ops.transpose(rows)), "float32")
        logits = logits + ops.slice(self.bias, (self.start(index),), (self.size,))
        pieces = self.start(index) + ops.arange(self.size, dtype="int32")
        own = self.own(index)
        is_label = ops.logical_and(own, ops.equal(ops.expand_dims(pieces, 0), self.labels))
        return ops.where(own, logits, NO_LOGIT), is_label

    def own(self, index: int | Tensor) -> Tensor:
        """bool [1, chunk]: False at the pieces of the chunk before it, which only the last chunk repeats."""
        pieces = self.start(index) + ops.arange(self.size, dtype="int32")
        return ops.expand_dims(pieces >= index * self.size, 0)


def vocabulary_statistics(chunks: VocabularyChunks) -> tuple[Tensor, Tensor, Tensor]:
    """(logsumexp, logit of the label, likeliest piece) of every prediction, each [predictions]."""

    def body(index, carry):
        highest, total, label, best = carry
        logits, is_label = chunks.logits(index)
        chunk_highest = ops.max(logits, axis=1)
        new_highest = ops.maximum(highest, chunk_highest)
        exponentials = ops.exp(logits - ops.expand_dims(new_highest, 1))
        total = total * ops.exp(highest - new_highest) + ops.sum(exponentials, axis=1)
        label = label + ops.sum(ops.where(is_label, logits, 0.0), axis=1)
        chunk_best = ops.cast(ops.argmax(logits, axis=1), "int32") + chunks.start(index)
        best = ops.where(chunk_highest > highest, chunk_best, best)
        return new_highest, total, label, best

    zeros = ops.zeros_like(chunks.labels[:, 0], "float32")
    start = (zeros + NO_LOGIT, zeros, zeros, ops.zeros_like(chunks.labels[:, 0]))
    highest, total, label, best = ops.fori_loop(0, chunks.number, body, start)
    return highest + ops.log(total), label, best


def _with_gradients(loss_sum, values, gradients):
    """`loss_sum`, a scalar, whose derivatives by `values` are `gradients`, both lists of three."""

    @ops.custom_gradient
    def loss(loss_sum, *parts):
        values, gradients = parts[:3], parts[3:]

        def gradient(*arguments):
            upstream = arguments[0]
            found = [ops.cast(upstream * part, value.dtype) for part, value in zip(gradients, values, strict=True)]
            # JAX demands a gradient for each argument, and its compiler leaves these out.
            nothing = map(ops.zeros_like, gradients) if keras.backend.backend() == "jax" else [None] * len(gradients)
            return (upstream, *found, *nothing)

        return loss_sum, gradient

    return loss(loss_sum, *values, *map(ops.stop_gradient, gradients))


def _gradients(chunks, log_sum, mask_weights, vocabulary_size):
    """Gradients of the summed loss with respect to features, embeddings and bias, float32."""
    weights, log_sum = ops.expand_dims(mask_weights, 1), ops.expand_dims(log_sum, 1)
    # Probabilities of most pieces are below float16's smallest number.
    dtype = "float32" if chunks.features.dtype == "float16" else chunks.features.dtype
    features = ops.cast(chunks.features, dtype)

    def body(step, carry):
        of_features, of_embeddings, of_bias = carry
        index = chunks.number - 1 - step
        logits, is_label = chunks.logits(index)
        of_logits = weights * (ops.exp(logits - log_sum) - ops.cast(is_label, "float32"))
        half = ops.cast(of_logits, dtype)
        of_features = of_features + ops.cast(ops.matmul(half, ops.cast(chunks.rows(index), dtype)), "float32")
        of_rows = ops.cast(ops.matmul(ops.transpose(half), features), "float32")
        of_embeddings = set_chunk(of_embeddings, index, chunks.start(index), of_rows)
        of_bias = set_chunk(of_bias, index, chunks.start(index), ops.sum(of_logits, axis=0))
        return of_features, of_embeddings, of_bias

    dim = chunks.embeddings.shape[1]
    start = (
        ops.zeros_like(chunks.features, "float32"),
        empty_array(vocabulary_size, chunks.size, (dim,)),
        empty_array(vocabulary_size, chunks.size),
    )
    of_features, of_embeddings, of_bias = ops.fori_loop(0, chunks.number, body, start)
    return of_features, whole_array(of_embeddings, vocabulary_size), whole_array(of_bias, vocabulary_size)
