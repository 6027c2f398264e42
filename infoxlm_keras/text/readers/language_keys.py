"""Which keys of a record name the languages of a pair.

Nearly every word of two or three letters is the code of some language. Inside `translation` every key names one. Among
the other fields of a record a key counts only if it is the only key for its language, and it is not a
usual name of a row's key or number.
"""

import functools

from infoxlm_keras.text.languages import language_among, language_or_none

# Codes of Indonesian and Norwegian, which are much more often the key or the number of a row.
ROW_KEYS = {"id", "no"}


@functools.lru_cache(maxsize=4096)
def find_language_keys(
    keys: tuple[str, ...], languages: tuple[str, str], only_languages: bool
) -> tuple[tuple[str, ...], None] | tuple[None, str]:
    """The keys of a pair's languages.

    Args:
        keys: tuple of str, all keys of a record.
        languages: (str, str), names of languages (see `infoxlm_keras.text.languages`).
        only_languages: bool, whether all of `keys` name languages.

    Returns:
        ((key, key), None), or (None, str): what is wrong, to be put behind the record's place.
    """
    found = {}
    for language in languages:
        candidates = [key for key in keys if language_among(key, languages) == language]
        # {"id": 7, "en": ..., "ind": ...}: `ind` names Indonesian, so `id` is the key of the row.
        candidates = [key for key in candidates if key.lower() not in ROW_KEYS] or candidates
        if not candidates:
            held = ", ".join(map(repr, keys)) or "no named fields"
            return None, f"has no field for {language}, only {held}; name it with --fields"
        if len(candidates) > 1:
            names = " and ".join(map(repr, candidates))
            return None, f"has several fields for {language}, {names}; name the two to take with --fields"
        found[language] = candidates[0]
    chosen = tuple(found[language] for language in languages)
    doubtful = [key for key in chosen if key.lower() in ROW_KEYS]
    if doubtful and not only_languages and not _says_languages(keys, chosen):
        return None, (
            f"its field {doubtful[0]!r} may be text or the key of the row; name source and target with --fields, as "
            f"in --fields {' '.join(chosen)}"
        )
    return chosen, None


def _says_languages(keys, chosen):
    """Whether the keys `chosen` have one form, and no other key has it: {"id": ..., "en": ...}."""
    shapes = {_shape(key) for key in chosen}
    alike = [key for key in keys if language_or_none(key) and _shape(key) in shapes]
    return len(shapes) == 1 and len(alike) == len(chosen)


def _shape(code):
    """Length and case of a code's language."""
    language = code.replace("-", "_").split("_")[0]
    return len(language), language.isupper()
