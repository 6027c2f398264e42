"""Languages in the names of files: `en-de`, `X.eng-zho-CN`, `newstest2019-ref.zho-CN`, `pt_br-en`.

A hyphen separates the two languages of a pair, and in some corpora also a language and its country. A name is taken
apart in every way that gives two codes of languages; where more than one remains, the name is ambiguous and refused.
"""

import re

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.text.languages import (
    UnusableNameError,
    language_among,
    language_or_none,
    registered_tags,
    variety_or_none,
    whole_tags,
)

# Codes as names spell them. One that ISO 639 lacks matches too: its own message helps more.
# `i-lux` and the like are older tags of BCP 47.
LANGUAGE = r"(?:[a-z]{2,3}|[A-Z]{2,3}|[iI](?=[-_][A-Za-z]{3}))(?:[-_][A-Za-z0-9]+)*(?:@[a-z]+)?"
LANGUAGE_PATTERN = re.compile(LANGUAGE)
PAIR_PATTERN = re.compile(rf"{LANGUAGE}-{LANGUAGE}")
# A language without script or country.
PRIMARY = re.compile("[A-Za-z]{2,3}")


def split_pair(text: str, place: PathLike) -> tuple[str, str] | None:
    """(source code, target code) of `text` (str, such as `en-de` or `eng-zho-CN`), or None if it names no pair.

    Unknown codes (`en-xx`) make a pair only with exactly one hyphen, so that there is no other reading.

    Raises:
        UnusableNameError: if several readings remain (`en-pt-br` is English and Brazilian, or English of Portugal and
            Breton); begins with `place`.
    """
    readings = _readings(text)
    if len(readings) > 1:
        shown = ", or ".join(f"{source} and {target}" for source, target in readings)
        source, target = readings[0]
        raise UnusableNameError(
            f"{place}: {text!r} may be {shown}; write countries behind an underscore, as in "
            f"{source.replace('-', '_')}-{target.replace('-', '_')}",
            f"{text!r} may be {shown}",
        )
    if readings:
        return readings[0]
    source, hyphen, target = text.partition("-")
    if (
        hyphen
        and not _ends_with_country(source, target)
        and LANGUAGE_PATTERN.fullmatch(source)
        and LANGUAGE_PATTERN.fullmatch(target)
        and "-" not in target
    ):
        return source, target
    return None


def find_pair(stem: str, place: PathLike) -> tuple[str, str] | None:
    """(source code, target code) at the end of a file's name: `stem`, `X.stem` or `X_stem`; None if there is none.

    `pt_br-en` is Brazilian, not Breton behind a prefix: the longest code counts.

    Raises:
        UnusableNameError: as `split_pair`.
    """
    after_dot = stem.rpartition(".")[2]
    starts = [0, *(match.end() for match in re.finditer("_", after_dot))]
    readings = [after_dot[start:] for start in starts]
    unknown = None
    for text in readings:
        pair = split_pair(text, place) if PAIR_PATTERN.fullmatch(text) else None
        if pair is None:
            continue
        if all(map(_is_plausible, pair)):
            return pair
        unknown = pair
    return unknown


def moses_sides(name: str, place: PathLike) -> tuple[str, tuple[str, str], int | None] | None:
    """(corpus, (source code, target code), number of the side) of the name `X.<src>-<tgt>.<side>`, or None.

    The side is None for a file of another language than the pair's two.

    Raises:
        UnusableNameError: as `split_pair`, where the side does not tell which reading is meant.
    """
    corpus, dot, side = name.rpartition(".")
    text = corpus.rpartition(".")[2]
    if not dot or not LANGUAGE_PATTERN.fullmatch(side) or not PAIR_PATTERN.fullmatch(text):
        return None
    with_side = [pair for pair in _readings(text) if side in pair]
    pair = with_side[0] if len(with_side) == 1 else split_pair(text, place)
    if pair is None:
        return None
    if side in pair:
        return corpus, pair, pair.index(side)
    # `X.en-zh_cn.zh`: another code of the same language.
    names = [language_or_none(code) or code for code in pair]
    if names[0] == names[1]:
        names = [variety_or_none(code) for code in pair]
    if len({*names}) == 2 and language_among(side, names) in names:
        return corpus, pair, names.index(language_among(side, names))
    return (corpus, pair, None) if is_usual(side) else None


def is_usual(code: str) -> bool:
    """Whether `code` (str) is of a language that has a code of two letters, or says its script or country.

    Nearly any three letters are the code of some language: `txt` and `doc` are.
    """
    name = language_or_none(code)
    return name is not None and (len(name.split("_")[0]) == 2 or not PRIMARY.fullmatch(code))


def is_pair(text: str) -> bool:
    """Whether `text` (str) can be read as two codes of languages: `en-de`, also `pt-br`, but not `pt-BR`."""
    return bool(_readings(text))


def _readings(text):
    """List of all (source code, target code) that `text` can be split into."""
    parts = text.split("-")
    inside = _inside_whole_tags([part.lower() for part in parts])
    cuts = [number for number in range(1, len(parts)) if number not in inside]
    splits = [("-".join(parts[:number]), "-".join(parts[number:])) for number in cuts]
    readings = [pair for pair in splits if all(map(_is_spelled, pair)) and all(map(language_or_none, pair))]
    return [pair for pair in readings if not _ends_with_country(*pair)]


def _inside_whole_tags(parts):
    """Set of int: where `parts` (list of str) must not be cut: `sgn-BE-FR` is no Belarusian of France behind `sgn`."""
    inside: set[int] = set()
    for start in range(len(parts)):
        for end in range(start + 2, len(parts) + 1):
            if tuple(parts[start:end]) in whole_tags():
                inside.update(range(start + 1, end))
    return inside


def _is_spelled(code):
    return bool(LANGUAGE_PATTERN.fullmatch(code))


def _ends_with_country(source, target):
    """Whether `target` is the country of the language before it: `zho-CN`, `pt-BR` (but not EN-DE, nor hi-EN-GB)."""
    return len(target) == 2 and target.isupper() and not source.isupper()


def _is_plausible(code):
    """Not `dev_de`, which is Domung as written in Germany, but a prefix and German."""
    name = language_or_none(code)
    return name is not None and (
        PRIMARY.fullmatch(code) is not None
        or len(name.split("_")[0]) == 2
        or _has_script(code)
        or tuple(re.split("[-_]", code.lower())) in registered_tags()
    )


def _has_script(code):
    return any(len(part) == 4 and part.isalpha() for part in re.split("[-_]", code)[1:])
