"""Links between the tokens of two sentences by optimal transport, on every backend; no shape depends on values.

The two sentences of a pair lie in one sequence. A link is an entry of a [length, length] matrix, of which the rows are
tokens of the first sentence and the columns tokens of the second one. `evaluation/alignment/methods.py` has the same
methods for one pair, in NumPy.

Source: Chi et al. (2021), XLM-Align, section 3.1, and its code, which differs from the paper: the kernel of the
transport is the similarity itself, not its exponential. Jalili Sabet et al. (2020), SimAlign, for the filtering.
"""

from keras import ops

from infoxlm_keras.annotations import Tensor

# XLM-Align's code: what replaces a similarity that is not positive, Sinkhorn's iterations, rounds of mutual argmax,
# and the factor of a candidate of which one side is linked already.
FLOOR = 1e-6
SINKHORN_ITERATIONS = 2
ITERMAX_ROUNDS = 2
LINKED_FACTOR = 0.9
# Below every mass, so that no place outside of the sentences is a maximum.
OUTSIDE = -1.0


def transport_plan(similarity: Tensor, candidates: Tensor, iterations: int = SINKHORN_ITERATIONS) -> Tensor:
    """Sinkhorn's algorithm on the similarities: columns are divided by their sums, then rows.

    Args:
        similarity: float32 [batch, length, length].
        candidates: bool [batch, length, length], True where the row is a token of the first sentence and the column
            one of the second.
        iterations: int, at least 1.

    Returns:
        float32 [batch, length, length], 0 where there is no candidate.
    """
    plan = ops.where(candidates, ops.where(similarity > 0, similarity, FLOOR), 0.0)
    for _ in range(iterations):
        for axis in (1, 2):
            total = ops.sum(plan, axis=axis, keepdims=True)
            # Rows and columns outside of the sentences stay 0.
            plan = plan / ops.where(total > 0, total, 1.0)
    return plan


def iterated_links(
    plan: Tensor, candidates: Tensor, rounds: int = ITERMAX_ROUNDS, factor: float = LINKED_FACTOR
) -> Tensor:
    """Mutual argmax, repeated for the tokens that are not linked yet (itermax).

    In each further round the mass of a candidate is multiplied by `factor` if one of its tokens is linked, and it is
    dropped if both are. The mutual argmax of what is left is added. Pairs with a sentence of two tokens or fewer have
    one round. Of equal masses the first one counts.

    Args:
        plan: float32 [batch, length, length], at least 0.
        candidates: bool [batch, length, length].
        rounds: int, how often mutual argmax is taken in all.
        factor: float.

    Returns:
        bool [batch, length, length].
    """
    links = _mutual_argmax(plan, candidates)
    rows = ops.any(candidates, axis=2, keepdims=True)  # [batch, length, 1]
    columns = ops.any(candidates, axis=1, keepdims=True)  # [batch, 1, length]
    smaller = ops.minimum(ops.sum(ops.cast(rows, "int32"), axis=1), ops.sum(ops.cast(columns, "int32"), axis=2))
    repeated = ops.expand_dims(smaller > 2, 2)  # [batch, 1, 1]
    for _ in range(rounds - 1):
        free_rows = ops.logical_and(rows, ops.logical_not(ops.any(links, axis=2, keepdims=True)))
        free_columns = ops.logical_and(columns, ops.logical_not(ops.any(links, axis=1, keepdims=True)))
        # Without a free token on both sides the rounds end.
        repeated = ops.logical_and(repeated, ops.any(free_rows, axis=1, keepdims=True))
        repeated = ops.logical_and(repeated, ops.any(free_columns, axis=2, keepdims=True))
        free_sides = ops.cast(free_rows, "float32") + ops.cast(free_columns, "float32")
        added = _mutual_argmax(plan * ops.minimum(1.0, factor * free_sides), candidates)
        added = ops.logical_and(ops.logical_and(added, free_sides > 0), repeated)
        links = ops.logical_or(links, added)
    return links


def partners(links: Tensor) -> Tensor:
    """The position that each token is linked to, the last one if there are several, or -1.

    Args:
        links: bool [batch, length, length]; no token is both a row and a column.

    Returns:
        int32 [batch, length].
    """
    number = ops.cast(ops.arange(ops.shape(links)[1]), "int32") + 1
    found = ops.cast(links, "int32")
    of_rows = ops.max(found * ops.reshape(number, (1, 1, -1)), axis=2)
    of_columns = ops.max(found * ops.reshape(number, (1, -1, 1)), axis=1)
    return ops.maximum(of_rows, of_columns) - 1


def _mutual_argmax(mass, candidates):
    """bool like `mass`: the candidates that are the first maximum of their row, and of their column."""
    mass = ops.where(candidates, mass, OUTSIDE)
    length = ops.shape(mass)[1]
    places = ops.arange(length, dtype="int32")
    best_of_row = ops.cast(ops.argmax(mass, axis=2), "int32")  # [batch, length]
    best_of_column = ops.cast(ops.argmax(mass, axis=1), "int32")
    is_best_of_row = ops.equal(ops.expand_dims(best_of_row, 2), ops.reshape(places, (1, 1, -1)))
    is_best_of_column = ops.equal(ops.expand_dims(best_of_column, 1), ops.reshape(places, (1, -1, 1)))
    return ops.logical_and(ops.logical_and(is_best_of_row, is_best_of_column), candidates)
