"""Groups of languages whose mean is published: Tatoeba-14 and Tatoeba-36."""

from collections.abc import Collection, Sequence

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_or_none

TATOEBA_14 = ("ar", "bg", "de", "el", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")
# Hu et al. (2020), XTREME; InfoXLM's table has the 14 of them that are in the fine-tuning data of XNLI.
TATOEBA_36 = (
    *TATOEBA_14,
    *("af", "bn", "et", "eu", "fa", "fi", "he", "hu", "id", "it", "ja"),
    *("jv", "ka", "kk", "ko", "ml", "mr", "nl", "pt", "ta", "te", "tl"),
)
GROUPS: dict[str, tuple[str, ...]] = {"tatoeba-14": TATOEBA_14, "tatoeba-36": TATOEBA_36}


def language_groups(requested: Sequence[str] | None, present: Collection[str]) -> dict[str, list[str]]:
    """The groups to take means of.

    Args:
        requested: list of str, names of `GROUPS` or `NAME=de,fr,...`; None: all of `GROUPS` that are complete.
        present: names of the languages that are measured.

    Returns:
        dict of name to list of languages, as they are in `present`.

    Raises:
        InputError: for a group that is not known, a word that is no language, or a language that is not measured.
    """
    if requested is None:
        return {name: list(members) for name, members in GROUPS.items() if set(members) <= set(present)}
    found = {}
    for item in requested:
        name, equals, words = item.partition("=")
        if not equals and name not in GROUPS:
            raise InputError(f"--groups {item}: must be one of {', '.join(GROUPS)}, or NAME=de,fr,...")
        members = [_language(word.strip(), item, present) for word in words.split(",")] if equals else GROUPS[name]
        missing = [language for language in members if language not in present]
        if missing:
            raise InputError(
                f"--groups {name}: there are no pairs of {', '.join(missing)}; give them, or leave out the group"
            )
        found[name] = list(dict.fromkeys(members))
    return found


def _language(word, item, present):
    if word in present:
        return word
    language = language_or_none(word)
    if language is None:
        raise InputError(f"--groups {item}: {word!r} is no language")
    return language
