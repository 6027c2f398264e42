"""Limits on the length of a sentence, and on the length ratio of a pair."""

import dataclasses
import re

from infoxlm_keras.errors import InputError

# Scripts whose characters stand for more than a letter: Chinese characters for about three letters of English, kana
# and Korean syllables for two (the medians of the pairs with English in the sample corpus: 3.0, 2.0 and 2.0).
IDEOGRAPHS = re.compile("[\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
SYLLABLES = re.compile("[\u1100-\u11ff\u3040-\u30ff\u31f0-\u31ff\uac00-\ud7af\uff66-\uff9d]")
IDEOGRAPH_LETTERS, SYLLABLE_LETTERS = 3, 2


@dataclasses.dataclass(frozen=True)
class LengthLimits:
    """Least and most characters and words (parts between white space) of a sentence; None sets no limit.

    Words mean nothing in Chinese, Japanese, Thai, Lao, Khmer and Burmese, which are written without spaces: do not
    limit them there.

    Args:
        min_characters, max_characters, min_words, max_words: int or None.
        max_ratio: float or None, most letters of a pair's longer side for each of the shorter, see `letters`.

    Raises:
        InputError: for a limit below 1, or a least that is above the most.
    """

    min_characters: int | None = None
    max_characters: int | None = None
    min_words: int | None = None
    max_words: int | None = None
    max_ratio: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_characters", "max_characters", "min_words", "max_words", "max_ratio"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                option = "max_character_ratio" if name == "max_ratio" else name
                raise InputError(f"--{option} {value}: must be at least 1")
        for unit in ("characters", "words"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            if least is not None and most is not None and least > most:
                raise InputError(f"--min_{unit} {least}: is above --max_{unit} {most}, so nothing would be left")

    def sentence_reason(self, text: str) -> str | None:
        """`"characters"`, `"words"`, or None if `text` is within the limits."""
        if not _within(len(text), self.min_characters, self.max_characters):
            return "characters"
        limited = self.min_words is not None or self.max_words is not None
        if limited and not _within(len(text.split()), self.min_words, self.max_words):
            return "words"
        return None

    def pair_reason(self, source: str, target: str) -> str | None:
        """As `sentence_reason` for either side; or `"character_ratio"`."""
        if reason := self.sentence_reason(source) or self.sentence_reason(target):
            return reason
        if self.max_ratio is not None:
            shorter, longer = sorted((letters(source), letters(target)))
            if longer > self.max_ratio * shorter:
                return "character_ratio"
        return None


def letters(text: str) -> int:
    """int: the length of `text` (str) in letters; an ideograph counts as three letters, a syllable as two."""
    if text.isascii():
        return len(text)
    ideographs, syllables = len(IDEOGRAPHS.findall(text)), len(SYLLABLES.findall(text))
    return len(text) + (IDEOGRAPH_LETTERS - 1) * ideographs + (SYLLABLE_LETTERS - 1) * syllables


def _within(value, least, most):
    return (least is None or value >= least) and (most is None or value <= most)
