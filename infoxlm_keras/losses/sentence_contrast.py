"""In-batch contrast: each query against its own document and all other documents of an update."""

from typing import NamedTuple

from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.losses.info_nce import MASKED_LOGIT


class SentenceContrast(NamedTuple):
    """What `sentence_contrast` gives, float32 [queries] each; `correct` is 1 where the own document scores highest."""

    losses: Tensor
    correct: Tensor


def sentence_contrast(
    queries: Tensor,
    documents: Tensor,
    candidates: Tensor,
    temperature: float = 0.05,
    both_directions: bool = True,
) -> SentenceContrast:
    """Cross-entropy of the own document among the candidates (InfoNCE with in-batch negatives).

    With s(i, j) the dot product of query i and document j, and C(i) its candidates, the own document included:
    `L_i = -log( exp(s(i, i) / t) / sum_{j in C(i)} exp(s(i, j) / t) )`. With `both_directions` L_i is the mean of this
    and of the same with the roles of queries and documents exchanged, where document i chooses among the queries.

    Source: Henderson et al. 2017, https://arxiv.org/abs/1705.00652; Karpukhin et al. 2020 for hard negatives; van den
    Oord et al. 2018, eq. 4.

    Args:
        queries: float32 [n, dim].
        documents: float32 [n + m, dim]. Row i < n belongs to query i; the m others are negatives of all queries.
        candidates: bool [n, n + m], which documents a query chooses among. Its own always is one.
        temperature: float > 0, divides the dot products.
        both_directions: bool.

    Returns:
        `SentenceContrast`.

    Example:
    ```python
    vectors = ops.eye(4)
    sentence_contrast(vectors, vectors, ops.ones((4, 4), bool), temperature=1.0).losses  # log(e + 3) - 1 each
    ```
    """
    count = ops.shape(queries)[0]
    scores = ops.matmul(queries, ops.transpose(documents)) / temperature  # [n, n + m]
    own = ops.expand_dims(ops.arange(count), 1) == ops.expand_dims(ops.arange(ops.shape(documents)[0]), 0)
    scores = ops.where(ops.logical_or(candidates, own), scores, MASKED_LOGIT)
    positives = ops.sum(ops.where(own, scores, 0.0), axis=1)
    losses = ops.logsumexp(scores, axis=1) - positives
    # A tie counts as wrong: an encoder whose vectors are all equal must not score 100%.
    rivals = ops.max(ops.where(own, MASKED_LOGIT, scores), axis=1)
    correct = ops.cast(positives > rivals, "float32")
    if both_directions:
        backward = ops.logsumexp(scores[:, :count], axis=0) - positives
        losses = (losses + backward) / 2
    return SentenceContrast(losses, correct)
