"""Decides which paragraphs and which translations are worth keeping."""

import collections
import re
import statistics
import unicodedata
from collections.abc import Callable, Sequence

from infoxlm_keras.sample_corpus.pages import IMAGE

# Limits of the English side: shorter paragraphs are labels, longer ones several sentences and lists.
MINIMUM_WORDS = 2
MINIMUM_CHARACTERS = 8
MAXIMUM_CHARACTERS = 400

# Below this share of letters among the characters that are not spaces a paragraph is a formula.
MINIMUM_LETTERS = 0.6

# A translation that repeats more of its words from the English is mostly names of commands.
MAXIMUM_SHARED_WORDS = 0.7

# This many consecutive lower-case English words in a translation mean that a part is untranslated.
COPIED_WORDS = 4

# Least share of a translation's letters in its own script, where that is not Latin.
MINIMUM_SCRIPT = 0.2

# A translation's length over the English, relative to the language's median, either way. Further off
# are translations of an older, longer or shorter text.
MAXIMUM_LENGTH_FACTOR = 3.0
LENGTH_SMOOTHING = 5  # characters added to both sides: short labels vary more

# First words of the Unicode names of a script's letters; languages not listed are written in Latin.
SCRIPTS = {
    "ar": ("ARABIC",),
    "bg": ("CYRILLIC",),
    "bn": ("BENGALI",),
    "bo": ("TIBETAN",),
    "dz": ("TIBETAN",),
    "el": ("GREEK",),
    "fa": ("ARABIC",),
    "gu": ("GUJARATI",),
    "he": ("HEBREW",),
    "hi": ("DEVANAGARI",),
    "ja": ("HIRAGANA", "KATAKANA", "CJK"),
    "ka": ("GEORGIAN",),
    "km": ("KHMER",),
    "ko": ("HANGUL",),
    "mk": ("CYRILLIC",),
    "ne": ("DEVANAGARI",),
    "ru": ("CYRILLIC",),
    "si": ("SINHALA",),
    "ta": ("TAMIL",),
    "th": ("THAI",),
    "uk": ("CYRILLIC",),
    "zh": ("CJK",),
    "zh_tw": ("CJK",),
}

# Left by the help's own compiler where it could not resolve a reference.
BROKEN = re.compile(r"not found\]|\$\[?officename|\ufffd")

# An image before a closing mark is removed with the space before it: "the icon <img>." -> "the icon."
IMAGE_BEFORE_MARK = re.compile(rf"\s*{IMAGE}\s*(?=[.,;:!?)、。，；：！？）])")

# Format characters that are kept: joiners that shape Indic words, and the space between words in Khmer.
KEPT_FORMAT_CHARACTERS = "\u200b\u200c\u200d"


class Translation(dict):
    """A table for `str.translate` that is filled on demand, by a function of the character."""

    def __init__(self, function: Callable[[str], str]) -> None:
        super().__init__()
        self.function = function

    def __missing__(self, code: int) -> str:
        self[code] = self.function(chr(code))
        return self[code]


def _without_controls(character):
    category = unicodedata.category(character)
    if character.isspace() or character in KEPT_FORMAT_CHARACTERS or category not in ("Cc", "Cf"):
        return character
    return ""


def _letters_and_marks(character):
    return character if unicodedata.category(character)[0] in "LM" else " "


CONTROLS = Translation(_without_controls)
LETTERS = Translation(_letters_and_marks)


def normalise_text(text: str) -> str:
    """`text` in Unicode NFC, on one line, single spaces, without images and control characters."""
    text = IMAGE_BEFORE_MARK.sub("", text).replace(IMAGE, "")
    return " ".join(unicodedata.normalize("NFC", text.translate(CONTROLS)).split())


def comparison_form(text: str) -> str:
    """The words of `text` in lower case, without digits and punctuation, joined by single spaces.

    Sentences with equal comparison forms count as one sentence in retrieval.
    """
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).translate(LETTERS).split())


def fault_of_paragraph(english: str) -> str | None:
    """Why an English paragraph is not used, as one word, or None if it is fine."""
    if not any(map(str.isalpha, english)):
        return "empty"
    if BROKEN.search(english):
        return "broken"
    if len(english) < MINIMUM_CHARACTERS or len(english.split()) < MINIMUM_WORDS:
        return "short"
    if len(english) > MAXIMUM_CHARACTERS:
        return "long"
    letters = sum(map(str.isalpha, english))
    if letters < MINIMUM_LETTERS * sum(map(len, english.split())):
        return "formula"
    return None


def fault_of_translation(english: str, translation: str, language: str) -> str | None:
    """Why `translation` (str) of `english` (str) is not used, as one word, or None if it is fine.

    Args:
        language: str. Code of the translation's language, which tells its script.
    """
    form = comparison_form(translation)
    if not form:
        return "empty"
    if BROKEN.search(translation):
        return "broken"
    english_form = comparison_form(english)
    if form == english_form or translation.casefold() == english.casefold():
        return "untranslated"
    words = form.split()
    english_words = set(english_form.split())
    if sum(word in english_words for word in words) > MAXIMUM_SHARED_WORDS * len(words):
        return "untranslated"
    if runs_of_lower_case(english) & runs_of_lower_case(translation):
        return "untranslated"
    if script_share(translation, language) < MINIMUM_SCRIPT:
        return "script"
    return None


def runs_of_lower_case(text: str) -> set[tuple[str, ...]]:
    """The set of all `COPIED_WORDS` neighbouring words of `text` in lower case and of two letters or more."""
    words = text.translate(LETTERS).split()
    runs = (words[start : start + COPIED_WORDS] for start in range(len(words) - COPIED_WORDS + 1))
    return {tuple(run) for run in runs if all(word.islower() and len(word) > 1 for word in run)}


def script_share(text: str, language: str) -> float:
    """Share of the letters of `text` in the script of `language`; 1 for languages in Latin script."""
    names = SCRIPTS.get(language)
    letters = collections.Counter(filter(str.isalpha, text))
    if names is None or not letters:
        return 1.0
    own = sum(n for letter, n in letters.items() if unicodedata.name(letter, "").startswith(names))
    return own / letters.total()


def length_outliers(pairs: Sequence[tuple[str, str]]) -> list[bool]:
    """Finds the pairs whose lengths differ more than those of translations do.

    Args:
        pairs: list of (English, translation), all of one language.

    Returns:
        List of bool, True where the ratio of the lengths in characters is more than
        `MAXIMUM_LENGTH_FACTOR` away from the median ratio.
    """
    ratios = [(len(other) + LENGTH_SMOOTHING) / (len(english) + LENGTH_SMOOTHING) for english, other in pairs]
    if not ratios:
        return []
    median = statistics.median(ratios)
    factors = (ratio / median for ratio in ratios)
    return [not 1 / MAXIMUM_LENGTH_FACTOR <= factor <= MAXIMUM_LENGTH_FACTOR for factor in factors]
