"""InfoNCE of queries against their own keys, the batch's other keys and a queue of past keys."""

from typing import NamedTuple

from keras import ops

from infoxlm_keras.annotations import Tensor

# Far below any logit, and finite, so that a masked candidate has probability 0 and gradient 0.
MASKED_LOGIT = -1e9


class InfoNCE(NamedTuple):
    """What `info_nce` gives, float32 scalars; those that end in `_sum` are summed over the batch."""

    loss_sum: Tensor
    correct_sum: Tensor
    positive_similarity_sum: Tensor
    negative_similarity_sum: Tensor
    num_candidates: Tensor


def info_nce(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    queue_mask: Tensor,
    temperature: float,
    in_batch_negatives: bool = False,
    first_row: int | Tensor = 0,
) -> InfoNCE:
    """Cross-entropy of the positive key among all candidates, summed over the batch.

    With q the query, k+ its key and k- the negatives (van den Oord et al. 2018, eq. 4; MoCo's form):
    `L = -log( exp(q.k+ / t) / (exp(q.k+ / t) + sum exp(q.k- / t)) )`, and `log N - L` is a lower bound of the
    mutual information of the two views, N being the number of candidates, the positive included.

    Args:
        queries: float32 [batch, dim].
        keys: float32 [batch, dim]; row i is the positive of query i. No gradient flows into them. Or more of them,
            [n, dim], the keys of all replicas, of which row `first_row + i` is the positive of query i.
        queue: float32 [queue_length, dim], past keys. No gradient flows into it.
        queue_mask: bool [queue_length], False for slots that were never filled; they are no candidates.
        temperature: float > 0, divides the dot products.
        in_batch_negatives: bool. Whether the other rows of `keys` are negatives too.
        first_row: int or int32 scalar.

    Returns:
        InfoNCE of float32 scalars: loss summed over the batch, number of queries whose positive scores highest,
        similarity to the positive summed over the batch, mean similarity to the negatives summed over the batch,
        and N.
    """
    queries = ops.cast(queries, "float32")
    keys = ops.stop_gradient(ops.cast(keys, "float32"))
    queue = ops.stop_gradient(ops.cast(queue, "float32"))
    own = keys if keys.shape == queries.shape else ops.slice(keys, (first_row, 0), ops.shape(queries))
    positive = ops.sum(queries * own, axis=-1, keepdims=True)  # [batch, 1]
    negatives = ops.matmul(queries, ops.transpose(queue))  # [batch, queue_length]
    valid = ops.broadcast_to(ops.expand_dims(queue_mask, 0), ops.shape(negatives))
    if in_batch_negatives:
        others = ops.matmul(queries, ops.transpose(keys))  # [batch, n]
        negatives = ops.concatenate([others, negatives], axis=1)
        own_rows = ops.arange(ops.shape(queries)[0]) + first_row
        rows = ops.arange(ops.shape(keys)[0])
        not_own = ops.not_equal(ops.expand_dims(rows, 0), ops.expand_dims(own_rows, 1))  # [batch, n]
        valid = ops.concatenate([not_own, valid], axis=1)
    weights = ops.cast(valid, "float32")
    num_negatives = ops.sum(weights[0])

    logits = ops.concatenate([positive, ops.where(valid, negatives, MASKED_LOGIT * temperature)], axis=1) / temperature
    losses = ops.logsumexp(logits, axis=-1) - logits[:, 0]
    # A tie with a negative counts as wrong: an encoder whose vectors are all equal must not score 100%.
    best_negative = ops.max(logits[:, 1:], axis=-1)
    correct = ops.cast(logits[:, 0] > best_negative, "float32")
    negative_similarity = ops.sum(negatives * weights, axis=-1) / ops.maximum(num_negatives, 1.0)
    return InfoNCE(
        ops.sum(losses), ops.sum(correct), ops.sum(positive), ops.sum(negative_similarity), num_negatives + 1.0
    )
