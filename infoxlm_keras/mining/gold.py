"""Mined pairs against gold pairs: precision, recall and F1, and the threshold with the best F1, as for BUCC."""

from collections.abc import Iterable

import numpy as np

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.mining.candidates import ScoredPairs
from infoxlm_keras.mining.sentences import SentenceStore
from infoxlm_keras.text.readers.chunks import decode_lines
from infoxlm_keras.text.readers.line_input import line_stream


def read_gold(path: PathLike, sources: SentenceStore, targets: SentenceStore) -> set[tuple[int, int]]:
    """The gold pairs as numbers of sentences.

    Args:
        path: str or path, `source id<TAB>target id` a line. Where sentences have no ids of their own, the id is the
            line number.
        sources, targets: `SentenceStore`.

    Returns:
        set of (source, target). Pairs of repeated sentences fall on the pair of their first occurrences.

    Raises:
        InputError: for a line that is no pair, or an id that the side lacks (names file and line).
    """
    rows: list[tuple[int, tuple[str, str]]] = []
    with line_stream(path) as stream:
        first_line = 1
        while body := stream.read_body():
            lines = decode_lines(body, stream.place, first_line)
            for number, line in enumerate(lines, first_line):
                columns = line.split("\t") if "\t" in line else line.split()
                names = [column.strip() for column in columns]
                if names and any(names):
                    if len(names) != 2 or not all(names):
                        raise InputError(
                            f"{path}: line {number}: {line.strip()!r:.60} is no pair; write `source id<TAB>target id`"
                        )
                    rows.append((number, (names[0], names[1])))
            first_line += len(lines)
    if not rows:
        raise InputError(f"{path}: holds no pair")
    known = [store.numbers_of({pair[place] for _, pair in rows}) for place, store in enumerate((sources, targets))]
    for number, pair in rows:
        for name, numbers, side in zip(pair, known, ("source", "target"), strict=True):
            if name not in numbers:
                raise InputError(f"{path}: line {number}: the {side} has no sentence with the id {name}")
    return {(known[0][source], known[1][target]) for _, (source, target) in rows}


def f1_scores(found: int, correct: int, gold: int) -> dict[str, float]:
    """{"precision", "recall", "f1"} of `found` pairs of which `correct` are among `gold`; 0 where undefined."""
    precision = correct / found if found else 0.0
    recall = correct / gold if gold else 0.0
    both = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / both if both else 0.0}


def scores_at(pairs: ScoredPairs, gold: Iterable[tuple[int, int]], threshold: float) -> dict[str, float]:
    """Precision, recall and F1 of the pairs with a score of at least `threshold`.

    Args:
        pairs: `ScoredPairs`.
        gold: set of (source, target).
        threshold: float.
    """
    gold = set(gold)
    hits = _hits(pairs, gold)[pairs.scores >= threshold]
    return f1_scores(len(hits), int(hits.sum()), len(gold))


def best_threshold(pairs: ScoredPairs, gold: Iterable[tuple[int, int]]) -> float:
    """The threshold with the best F1: halfway between the last score that is taken and the next one.

    Args:
        pairs: `ScoredPairs`, at least one.
        gold: set of (source, target), not empty.

    Returns:
        float; of several the highest. The score of the last pair where all are taken.
    """
    gold = set(gold)
    taken = np.arange(1, len(pairs.scores) + 1)
    # F1 = 2 correct / (found + gold).
    f1 = 2 * np.cumsum(_hits(pairs, gold)) / (taken + len(gold))
    # Pairs of equal score are taken together.
    f1[:-1][pairs.scores[:-1] == pairs.scores[1:]] = -1
    last = int(np.argmax(f1))
    if last + 1 == len(pairs.scores):
        return float(pairs.scores[last])
    return float((pairs.scores[last] + pairs.scores[last + 1]) / 2)


def _hits(pairs, gold):
    """bool [pairs]: which are gold."""
    both = zip(pairs.sources.tolist(), pairs.targets.tolist(), strict=True)
    return np.fromiter((pair in gold for pair in both), bool, count=len(pairs.scores))
