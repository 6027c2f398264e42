"""Exact match and F1 of predicted answers, by the rules of SQuAD and of MLQA.

Both rules lower-case an answer, remove punctuation, articles and further white space, and compare what is left: as a
whole (exact match), and as a bag of tokens (F1). A prediction is compared with every gold answer, and the best counts.

    rules    punctuation                       articles                        tokens
    squad    of ASCII                          a, an, the, in every language   between white space
    mlqa     of Unicode (category P), ASCII    the language's (en, de, es,     between white space; in Chinese each
                                               ar, vi; none in others)         character of U+4E00..U+9FA5 by itself

XTREME measures XQuAD and TyDiQA-GoldP by the first and MLQA by the second. MLQA's own program knows its seven
languages only; here any other language has no articles and tokens between white space.

Reference: Rajpurkar et al. (2016); Lewis et al. (2020), `mlqa_evaluation_v1.py`.
"""

import collections
import functools
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Sequence

ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
# MLQA's articles. In Arabic the article is a part of the word: its rule removes these letters wherever they stand.
ARTICLES = {
    "en": ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile(r"\sال^|ال"),
}
ASCII_PUNCTUATION = frozenset(string.punctuation)
CHARACTERS_BY_THEMSELVES = re.compile(r"([\u4e00-\u9fa5])")
RULES = ("squad", "mlqa")


def answer_tokens(answer: str, rules: str = "squad", language: str = "en") -> list[str]:
    """What is compared of an answer.

    Args:
        answer: str.
        rules: one of `RULES`.
        language: str, the language of the answer, such as `de` or `zh_Hant`.

    Returns:
        list of str.

    Example:
    ```python
    answer_tokens("The cat's tail!")  # ["cats", "tail"]
    answer_tokens("der Fluss „Elbe“", "mlqa", "de")  # ["fluss", "elbe"]
    ```
    """
    lower = answer.lower()
    if rules == "squad":
        kept = "".join(sign for sign in lower if sign not in ASCII_PUNCTUATION)
        return ENGLISH_ARTICLES.sub(" ", kept).split()
    kept = "".join(sign for sign in lower if not _is_punctuation(sign))
    language = language.split("_")[0]
    if language in ARTICLES:
        kept = ARTICLES[language].sub(" ", kept)
    if language == "zh":
        kept = CHARACTERS_BY_THEMSELVES.sub(r" \1 ", kept)
    return kept.split()


def exact_match(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """1.0 if two lists of tokens are equal, else 0.0."""
    return float(list(prediction) == list(gold))


def token_f1(prediction: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two bags of tokens (lists of str), float in 0..1; 0 if they share none, even where both are empty."""
    common = (collections.Counter(prediction) & collections.Counter(gold)).total()
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(gold)
    return 2 * precision * recall / (precision + recall)


def answer_scores(
    prediction: str, answers: Iterable[str], rules: str = "squad", language: str = "en"
) -> dict[str, float]:
    """`exact_match` and `f1`, each the best over the gold answers.

    Args:
        prediction: str.
        answers: list of str, at least one gold answer.
        rules: one of `RULES`.
        language: str, the language of the answers.
    """
    predicted = answer_tokens(prediction, rules, language)
    golds = [answer_tokens(answer, rules, language) for answer in answers]
    scores: dict[str, Callable[..., float]] = {"exact_match": exact_match, "f1": token_f1}
    return {name: max(score(predicted, gold) for gold in golds) for name, score in scores.items()}


@functools.cache
def _is_punctuation(sign):
    return sign in ASCII_PUNCTUATION or unicodedata.category(sign).startswith("P")
