"""The most likely answers of a question among the spans of its windows. NumPy only."""

import dataclasses

import numpy as np

from infoxlm_keras.annotations import Array

MAX_ANSWER = 30


@dataclasses.dataclass(frozen=True)
class Span:
    """A span of a window.

    Attributes:
        window: int, its row.
        first, last: int, tokens of the row, both included.
        score: float, the sum of the logits of start and end.
    """

    window: int
    first: int
    last: int
    score: float


def best_spans(
    logits: Array, rows: Array, places: Array, counts: Array, max_answer: int = MAX_ANSWER, n_best: int = 1
) -> list[list[Span]]:
    """The `n_best` spans of each question over all its windows.

    A span is valid if it lies in the context of one window, does not end before it begins, and has at most
    `max_answer` tokens. All valid spans are tried. Of equal scores the first window's, then the shorter span, then the
    earlier one comes first.

    Args:
        logits: float32 [windows, length, 2], of start and end.
        rows: int [windows], the number of each window's question, ascending and without a gap.
        places, counts: int [windows], where in the row the context begins, and its tokens.
        max_answer: int, tokens of the longest answer.
        n_best: int, spans of each question.

    Returns:
        list of lists of `Span`, the best first; a question whose windows hold no token of a context has none.
    """
    found: list[list[Span]] = [[] for _ in range(int(rows[-1]) + 1)] if len(rows) else []
    for window, (row, place, count) in enumerate(zip(rows.tolist(), places.tolist(), counts.tolist(), strict=True)):
        if not count:
            continue
        starts, ends = np.asarray(logits[window, place : place + count], np.float32).T
        widths = min(max_answer, count)
        # Element [w, s]: the span of w + 1 tokens that begins at token s.
        scores = np.full((widths, count), -np.inf, np.float32)
        for width in range(widths):
            scores[width, : count - width] = starts[: count - width] + ends[width:]
        flat = scores.ravel()
        for best in _highest(flat, n_best).tolist():
            width, first = divmod(best, count)
            if np.isfinite(flat[best]):
                found[row].append(Span(window, place + first, place + first + width, float(flat[best])))
    return [sorted(spans, key=lambda span: -span.score)[:n_best] for spans in found]


def _highest(scores, number):
    """Places of the `number` highest of `scores`, float32 [n]: the highest first, of equals the first."""
    if number == 1:
        return scores.argmax(keepdims=True)
    kept = np.arange(scores.size)
    if number < scores.size:
        # A partition alone takes any of those that equal the last one.
        last = np.partition(scores, -number)[-number]
        above = np.flatnonzero(scores > last)
        kept = np.concatenate([above, np.flatnonzero(scores == last)[: number - above.size]])
    return kept[np.argsort(-scores[kept], kind="stable")]
