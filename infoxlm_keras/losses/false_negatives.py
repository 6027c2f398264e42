"""Which documents of an update are candidates of a query: none that is right for it, nor what likely is."""

from keras import ops

from infoxlm_keras.annotations import Tensor


def contrast_candidates(right_texts: Tensor, document_texts: Tensor, present: Tensor) -> Tensor:
    """The documents that may be wrong for a query, bool [n, n + m].

    Not among them are documents with the text of any document that is right for the query, in this update or elsewhere
    in the data, and those of rows that are not present.

    Args:
        right_texts: int [n, r], the numbers of the texts that are right for each query; -1 for none.
        document_texts: int [n + m], equal numbers of at least 0 for equal texts; document i < n belongs to query i.
        present: bool [n + m], False for rows that fill up a batch; `present[i]` is that of query i too.

    Returns:
        bool [n, n + m]; the own document is not among them.
    """
    right = ops.zeros((1, 1), "bool")
    # One after another: all at once would take r times the memory.
    for number in range(right_texts.shape[1]):
        right = ops.logical_or(right, right_texts[:, number, None] == document_texts[None])
    count = ops.shape(right_texts)[0]
    both = ops.logical_and(ops.expand_dims(present[:count], 1), ops.expand_dims(present, 0))
    return ops.logical_and(both, ops.logical_not(right))


def without_false_negatives(candidates: Tensor, queries: Tensor, documents: Tensor, margin: float) -> Tensor:
    """`candidates` without documents that are about as similar to the query as its own one.

    Document j is left out for query i where `s(i, j) > s(i, i) - margin`. The vectors are those of a guide, a model
    that is trained already (Solatorio 2024, https://arxiv.org/abs/2402.16829, with margin 0), or those in training.

    Args:
        candidates: bool [n, n + m].
        queries: float [n, dim], of unit length. No gradient flows through them.
        documents: float [n + m, dim], of unit length; document i < n belongs to query i.
        margin: float.

    Returns:
        bool [n, n + m].
    """
    queries = ops.stop_gradient(ops.cast(queries, "float32"))
    documents = ops.stop_gradient(ops.cast(documents, "float32"))
    own = ops.sum(queries * documents[: ops.shape(queries)[0]], axis=1, keepdims=True)
    similarities = ops.matmul(queries, ops.transpose(documents))
    return ops.logical_and(candidates, similarities <= own - margin)
