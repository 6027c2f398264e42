"""The first line of a file of pairs where it names the columns instead of holding a pair."""

import re
from collections.abc import Sequence

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_or_none, variety_or_none

# Names of the two columns, without words such as "sentence" around them.
NAMES = {
    ("source", "target"),
    ("src", "tgt"),
    ("src", "trg"),
    ("src", "mt"),
    ("source", "translation"),
    ("original", "translation"),
}
# Behind such a word only: a letter or a number alone may be a text.
NUMBERS = {("1", "2"), ("a", "b")}
# The languages that are most often named by a word.
ENGLISH = {
    **{
        "ar": "arabic",
        "bg": "bulgarian",
        "cs": "czech",
        "da": "danish",
        "de": "german",
        "el": "greek",
        "en": "english",
    },
    **{
        "es": "spanish",
        "fi": "finnish",
        "fr": "french",
        "he": "hebrew",
        "hi": "hindi",
        "hu": "hungarian",
        "it": "italian",
    },
    **{"ja": "japanese", "ko": "korean", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese"},
    **{"ro": "romanian", "ru": "russian", "sv": "swedish", "sw": "swahili", "th": "thai", "tr": "turkish"},
    **{"uk": "ukrainian", "ur": "urdu", "vi": "vietnamese", "zh": "chinese"},
}
_QUOTES = "\"'#\ufeff \t"
_BEFORE = re.compile(r"^(?:sentence|text|string|source|target|src|tgt|translation)(?:[ _.]+|(?=[12ab]$))")
_BEHIND = re.compile(r"[ _.]+(?:sentence|text|string|lang|language)$")


def is_header(columns: Sequence[str], pair: str, place: str) -> bool:
    """Whether the first line of a file of pairs names its columns.

    Args:
        columns: two str.
        pair: str, the two languages in the order of the columns, from the file's name (`en-de`).
        place: str, file and line, for messages.

    Raises:
        InputError: if it names them in the other order.
    """
    cells = [column.strip(_QUOTES).casefold() for column in columns]
    if not all(cells) or max(map(len, cells)) > 40:
        return False
    names = tuple(_BEFORE.sub("", _BEHIND.sub("", cell)) or cell for cell in cells)
    languages = pair.split("-")
    numbered = names in NUMBERS and all(name != cell for name, cell in zip(names, cells, strict=True))
    if numbered or names in NAMES or _say(names, languages):
        return True
    if names[::-1] in NAMES or _say(names[::-1], languages):
        raise InputError(
            f"{place}: names the columns {columns[0].strip()!r} and {columns[1].strip()!r}, and the file's name says "
            f"{languages[0]}, then {languages[1]}; rename it to {languages[1]}-{languages[0]}, or swap the columns"
        )
    return False


def _say(names, languages):
    return all(language in _languages(name, language) for name, language in zip(names, languages, strict=True))


def _languages(name, language):
    """The names of languages that `name`, a code or an English word, may stand for."""
    found = {code for code in (variety_or_none(name), language_or_none(name)) if code is not None}
    base = language.split("_")[0]
    # A code without a script or country may stand for one with it, and the other way round.
    if base in {*found, *(code.split("_")[0] for code in found if language == base)} or name == ENGLISH.get(base):
        found.add(language)
    return found
