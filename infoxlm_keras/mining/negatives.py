"""Chooses hard negatives among the nearest neighbours of queries. NumPy only.

The candidates of a query are ranked by cosine, without those that are known to belong to it; rank 1 is the nearest. Of
the ranks `skip_top` + 1 .. `max_rank`, those are left out that are likely to be positives that nobody marked: a
candidate that scores above a share of the positive's score, or above the positive's score less a margin. (Moreira et
al., 2024, "NV-Retriever: Improving text embedding models with effective hard-negative mining": TopK-PercPos and
TopK-MarginPos.)
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError

SAMPLINGS = ("top", "random")
# Why candidates are left out, in the order in which they are counted: a candidate has one reason.
KNOWN, SKIPPED, SHARE, MARGIN = "known_positives", "skip_top", "max_score_share", "margin"


@dataclasses.dataclass(frozen=True)
class NegativeSettings:
    """Which candidates become negatives.

    Attributes:
        negatives: int, negatives of each sample, at least 1.
        skip_top: int, nearest candidates that are passed over, at least 0.
        max_rank: int, rank of the last candidate that is looked at, at least `skip_top` + `negatives`.
        max_score_share: float above 0, candidates above this share of the positive's score are left out; infinity
            leaves out none.
        margin: float or None, candidates above the positive's score less this margin are left out, at least 0.
        sampling: "top" takes the nearest that remain, "random" any of them.
        seed: int, of "random".
        keep_fewer: bool, samples for which fewer negatives than `negatives` remain are written, too.
        batch_size: int, texts a forward pass.

    Raises:
        InputError: for a value out of range.
    """

    negatives: int = 4
    skip_top: int = 0
    max_rank: int = 100
    max_score_share: float = 0.95
    margin: float | None = None
    sampling: str = "top"
    seed: int = 0
    keep_fewer: bool = False
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name, least in (("negatives", 1), ("skip_top", 0), ("seed", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least {least}")
        if self.max_rank < self.skip_top + self.negatives:
            raise InputError(
                f"max_rank = {self.max_rank}: must be at least skip_top + negatives = {self.skip_top + self.negatives}"
            )
        if not self.max_score_share > 0:
            raise InputError(f"max_score_share = {self.max_score_share}: must be above 0; inf leaves out no candidate")
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise InputError(f"margin = {self.margin}: must be a number of at least 0")
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling = {self.sampling!r}: must be one of {', '.join(SAMPLINGS)}")


class Chosen(NamedTuple):
    """The negatives of n samples.

    numbers: list of n int64 arrays, the candidates that were chosen, nearest first.
    scores: list of n float32 arrays, their cosines.
    left_out: dict of reason to int, the candidates of ranks up to `max_rank` that were left out.
    """

    numbers: list[Array]
    scores: list[Array]
    left_out: dict[str, int]


def choose_negatives(
    cosines: Array, numbers: Array, known: Array, positive_scores: Array, settings: NegativeSettings, first: int = 0
) -> Chosen:
    """The negatives of samples, from the nearest candidates of their queries.

    Args:
        cosines, numbers: float and int [n, k], the nearest candidates of each query, nearest first.
        known: bool [n, k], which candidates belong to the query: they have no rank.
        positive_scores: float [n], the cosine of each query and its positive.
        settings: `NegativeSettings`.
        first: int, number of the first sample among all, on which a random choice depends.

    Returns:
        `Chosen`.

    Example:
    ```python
    settings = NegativeSettings(negatives=1, max_rank=3, max_score_share=0.9)
    cosines = np.array([[1.0, 0.95, 0.8]])
    known = np.array([[True, False, False]])
    choose_negatives(cosines, np.array([[4, 7, 2]]), known, np.array([1.0]), settings)
    # numbers [[2]]: candidate 4 belongs to the query, 7 scores above 0.9
    ```
    """
    ranks = np.cumsum(~known, axis=1)
    positives = np.asarray(positive_scores, np.float64)[:, None]
    # What belongs to the query stands behind the rank that it has here.
    inside = ranks + known <= settings.max_rank
    reasons: dict[str, Array] = {KNOWN: known, SKIPPED: ranks <= settings.skip_top}
    if settings.max_score_share < math.inf:
        reasons[SHARE] = cosines > settings.max_score_share * positives
    if settings.margin is not None:
        reasons[MARGIN] = cosines > positives - settings.margin
    left_out = {}
    for reason, found in reasons.items():
        left_out[reason] = int(np.count_nonzero(inside & found))
        inside = inside & ~found
    places = [_sampled(np.flatnonzero(row), settings, first + number) for number, row in enumerate(inside)]
    return Chosen(
        [row[chosen] for row, chosen in zip(numbers, places, strict=True)],
        [row[chosen] for row, chosen in zip(cosines, places, strict=True)],
        left_out,
    )


def _sampled(places, settings, sample):
    """At most `negatives` of `places` (int [m]), in their order."""
    if settings.sampling == "top" or len(places) <= settings.negatives:
        return places[: settings.negatives]
    return np.sort(np.random.default_rng([settings.seed, sample]).choice(places, settings.negatives, replace=False))
