"""Which documents of an update are candidates of a query: not its own ones again, nor what is likely one of them."""

from keras import ops

from infoxlm_keras.annotations import Tensor


def contrast_candidates(query_texts: Tensor, document_texts: Tensor, present: Tensor) -> Tensor:
    """The documents that may be wrong for a query, bool [n, n + m].

    Not among them are documents with the text of its own document, documents of queries with the same text, and those
    of rows that are not present.

    Args:
        query_texts: int [n], equal numbers of at least 0 for equal texts.
        document_texts: int [n + m], as well; document i < n belongs to query i.
        present: bool [n + m], False for rows that fill up a batch; `present[i]` is that of query i too.

    Returns:
        bool [n, n + m]; the own document is not among them.
    """
    count = ops.shape(query_texts)[0]
    own_text = ops.expand_dims(document_texts[:count], 1) == ops.expand_dims(document_texts, 0)
    # The others belong to no query.
    of_documents = ops.concatenate([query_texts, -1 - ops.zeros_like(document_texts[count:])], axis=0)
    same_query = ops.expand_dims(query_texts, 1) == ops.expand_dims(of_documents, 0)
    both = ops.logical_and(ops.expand_dims(present[:count], 1), ops.expand_dims(present, 0))
    return ops.logical_and(both, ops.logical_not(ops.logical_or(own_text, same_query)))


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
