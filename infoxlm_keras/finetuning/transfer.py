"""The transfer gap: what a language loses that was not trained on."""

from collections.abc import Mapping, Sequence

import numpy as np


def transfer_gap(scores: Mapping[str, float], training_languages: Sequence[str]) -> float | None:
    """Score in the training language minus the mean over all other languages, float (the paper, section 4.3).

    None unless there is exactly one training language, and both it and another language were measured.
    """
    others = [score for language, score in scores.items() if language not in training_languages]
    if len(training_languages) != 1 or training_languages[0] not in scores or not others:
        return None
    return scores[training_languages[0]] - float(np.mean(others))
