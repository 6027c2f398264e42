"""One name for each language, whatever a corpus calls it: `deu`, `ger` and `de-DE` are all `de`.

A name is the shortest code of ISO 639, lower case, and the script behind an underscore where it is not the one the
language is usually written in: `zh`, `zh_Hant`, `sr`, `sr_Latn`. A country only counts for the script that it implies
(`zh-TW` is `zh_Hant`, `pt-BR` is `pt`), and the chief member of a group of languages has the group's name (`cmn` is
`zh`, `arb` is `ar`), as in the corpora that XLM-R learns from.
"""

import functools
import re

import langcodes

from infoxlm_keras.errors import InputError

# What CC-100 calls some of its files, as valid tags.
CORPUS_CODES = {
    "ns": "nso",
    "bn_rom": "bn-Latn",
    "hi_rom": "hi-Latn",
    "ta_rom": "ta-Latn",
    "te_rom": "te-Latn",
    "ur_rom": "ur-Latn",
    "my_zaw": "my-Qaag",
}
# Names that XLM-R's corpus has for languages which have a newer code.
CORPUS_NAMES = {"nb": "no", "fil": "tl"}
NO_LANGUAGES = {"und", "mul", "mis", "zxx"}
SHAPE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")


@functools.lru_cache(maxsize=4096)
def language_or_none(code):
    """The name of the language `code` (str), or None if it is no code of a language."""
    if not SHAPE.fullmatch(code):
        return None
    code = CORPUS_CODES.get(code.lower().replace("-", "_"), code)
    try:
        tag = langcodes.Language.get(code.replace("_", "-"))
        if not tag.is_valid():
            return None
        tag = tag.prefer_macrolanguage()
    except langcodes.LanguageTagError:
        return None
    if tag.language is None or tag.language in NO_LANGUAGES:
        return None
    script = tag.script or (tag.maximize().script if tag.territory else None)
    usual = langcodes.Language.get(tag.language).maximize().script
    name = CORPUS_NAMES.get(tag.language, tag.language)
    return f"{name}_{script}" if script and script != usual else name


def language_name(code, path):
    """The name of the language `code` (str), found in `path` (for the message).

    Raises:
        InputError: if it is no code of a language.
    """
    name = language_or_none(code)
    if name is None:
        raise InputError(
            f"{path}: {code!r} is no language code of ISO 639 (such as de, deu, zh_Hant); rename the file, or name "
            "the language before it, as in de=FILE"
        )
    return name


def pair_name(source, target, path):
    """`<source>-<target>` of two codes found in `path`.

    Raises:
        InputError: if one is no code of a language, or both are the same language.
    """
    source, target = language_name(source, path), language_name(target, path)
    if source == target:
        raise InputError(f"{path}: names {source} on both sides; a pair has two languages, rename the file")
    return f"{source}-{target}"
