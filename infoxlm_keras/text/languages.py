"""One name for each language, whatever code a corpus uses: `deu`, `ger`, `de-DE` and `de_DE.UTF-8` are all `de`.

A name is the shortest code of ISO 639, lower case, and the script behind an underscore where it is not the one the
language is usually written in: `zh`, `zh_Hant`, `sr`, `sr_Latn`. A country only counts for the script that it implies
(`zh-TW` is `zh_Hant`, `pt-BR` is `pt`), and the chief member of a group of languages has the group's name (`cmn` is
`zh`, `arb` is `ar`), as in the corpora that XLM-R learns from. The other members have names of their own: `prs` beside
`fa`, `tw` beside `ak`. An extended language stands for itself (`ar-arz` is `arz`, `zh-yue` is `yue`).

A pair of two varieties of one language (`pt`-`pt_br`) is the exception: its sides keep country and variant, `pt` and
`pt_BR`, because nothing else tells them apart.
"""

import functools
import re
from collections.abc import Sequence

import langcodes
import langcodes.registry_parser

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

# What corpora and tools call a language in ways that BCP 47 does not know, as valid tags; in lower case with `_`.
CORPUS_CODES = {
    # CC-100 (Conneau et al. 2020).
    "ns": "nso",
    "bn_rom": "bn-Latn",
    "hi_rom": "hi-Latn",
    "ta_rom": "ta-Latn",
    "te_rom": "te-Latn",
    "ur_rom": "ur-Latn",
    "my_zaw": "my-Qaag",
    # FLORES-101 (Goyal et al. 2021).
    "zho_simpl": "zh-Hans",
    "zho_trad": "zh-Hant",
    # Wikipedia's projects (meta.wikimedia.org, "Special language codes"), and so OPUS, CC-Aligned and OSCAR.
    "bat_smg": "sgs",
    "fiu_vro": "vro",
    "map_bms": "jv",
    "roa_rup": "rup",
    "zh_classical": "lzh",
    # Windows before Vista, and with it Trados and many TMX files.
    "zh_chs": "zh-Hans",
    "zh_cht": "zh-Hant",
    "sr_latn_sp": "sr-Latn",
    "sr_cyrl_sp": "sr-Cyrl",
    "en_us_posix": "en",
    # Java.
    "no_no_ny": "nn",
    # IANA's registry; CLDR has the sign language of Nigeria here.
    "sgn_no": "nsl",
}
# Languages of their own in ISO 639, which CLDR takes for others: Dari for Persian, Congo Swahili for Swahili, Twi and
# Fanti for Akan. FLORES-200 has `pes_Arab` beside `prs_Arab`, and `aka_Latn` beside `twi_Latn`.
OWN_LANGUAGES = {"prs", "swc", "tw", "fat"}
# Names that XLM-R's corpus has for languages which have a newer code.
CORPUS_NAMES = {"nb": "no", "fil": "tl"}
# Scripts that are a part of the one which CLDR has for a language: FLORES writes `kor_Hang`.
USUAL_PARTS = {("ko", "Hang"), ("ja", "Hani"), ("zh", "Hani")}
# What langcodes makes of `i-default`, `i-mingo` and the like.
UNNAMED = "x-i-"
NO_LANGUAGES = {"und", "mul", "mis", "zxx"}
# A tag of BCP 47, or a locale of POSIX: language[_territory][.charset][@modifier].
CODE = re.compile(
    r"(?P<tag>(?:[A-Za-z]{2,3}|i(?=[-_]))(?:[-_][A-Za-z0-9]+)*)"
    r"(?:\.(?P<charset>utf-?8|us-ascii|(?:iso-?|cp|gb|big|euc-?|koi8-?|windows-?|tis-?|sjis|armscii-?)[a-z0-9-]*))?"
    r"(?:@(?P<modifier>[a-z0-9]+))?",
    re.IGNORECASE,
)
# Modifiers of locales (glibc, gettext) that say the script; others (`euro`, `valencia`, `quot`) say less than that.
MODIFIER_SCRIPTS = {
    "arabic": "Arab",
    "cyrillic": "Cyrl",
    "devanagari": "Deva",
    "ijekavianlatin": "Latn",
    "iqtelif": "Latn",
    "latin": "Latn",
}
LONGEST_CODE = 40


class UnusableNameError(InputError):
    """The languages of a text cannot be known from its name, or are none that can be used.

    It ends a command where the text was given by its own name. In a folder such a file is passed over.

    Args:
        message: str.
        reason: str, the same without path and remedy, for the list of what is passed over.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = message if reason is None else reason


@functools.lru_cache(maxsize=4096)
def language_or_none(code: str) -> str | None:
    """The name of the language `code` (str), or None if it is no code of a language."""
    tag = _tag(code)
    if tag is None:
        return None
    implies_script = tag.territory and tag.language not in OWN_LANGUAGES
    script = tag.script or (tag.maximize().script if implies_script else None)
    usual = langcodes.Language.get(tag.language).maximize().script
    name = CORPUS_NAMES.get(tag.language, tag.language)
    return f"{name}_{script}" if script and script != usual and (name, script) not in USUAL_PARTS else name


@functools.lru_cache(maxsize=4096)
def variety_or_none(code: str) -> str | None:
    """As `language_or_none`, with country and variants: `pt_BR`, `zh_Hant_HK`, `ca_valencia`, and `pt` for `por`.

    A code that ISO has merged into another keeps its own name: `kzj` (Coastal Kadazan), today a part of `dtp`.
    """
    name = language_or_none(code)
    if name is None:
        return None
    tag = _tag(code)
    own = re.split("[-_]", code.lower())[0]
    if merged_languages().get(own) == tag.language:
        name = "_".join([own, *name.split("_")[1:]])
    return "_".join([name, *([tag.territory] if tag.territory else []), *(tag.variants or ())])


def language_among(code: str, languages: Sequence[str]) -> str | None:
    """The one of `languages` (names, as a pair has them) that `code` (str) stands for, or None.

    `pt-BR` is `pt_BR` in the pair (`pt`, `pt_BR`) and `pt` in (`en`, `pt`).
    """
    variety = variety_or_none(code)
    if variety in languages:
        return variety
    name = language_or_none(code)
    return name if name in languages else None


def language_name(code: str, path: PathLike) -> str:
    """The name of the language `code` (str), found in `path` (for the message).

    Raises:
        UnusableNameError: if it is no code of a language.
    """
    name = language_or_none(code)
    if name is None:
        what = f"{code!r} is not an ISO 639 language code"
        raise UnusableNameError(
            f"{path}: {what} (such as de, deu, zh_Hant); rename the file, or name the language before it, as in "
            "de=FILE",
            what,
        )
    return name


def pair_name(source: str, target: str, path: PathLike) -> str:
    """`<source>-<target>` of two codes found in `path`; two varieties of one language keep country and variant.

    Raises:
        UnusableNameError: if one is no code of a language, or both are the same language.
    """
    names: tuple[str | None, str | None] = language_name(source, path), language_name(target, path)
    if names[0] == names[1]:
        names = variety_or_none(source), variety_or_none(target)
    if names[0] == names[1]:
        what = f"names {names[0]} on both sides"
        raise UnusableNameError(f"{path}: {what}; a pair has two languages, rename the file", what)
    return f"{names[0]}-{names[1]}"


def pair_languages(pair: str) -> tuple[str, str]:
    """The two languages of a pair's name: `("en", "pt_BR")` of `en-pt_BR`."""
    source, _, target = pair.partition("-")
    return source, target


def _tag(code):
    """`langcodes.Language` of a code, or None."""
    match = CODE.fullmatch(code) if len(code) <= LONGEST_CODE else None
    if not match:
        return None
    parts = _ordered(match["tag"].lower().replace("-", "_").split("_"))
    modifier = (match["modifier"] or "").lower()
    if parts[-1] in MODIFIER_SCRIPTS and not modifier:
        *parts, modifier = parts
    tag = _valid_tag(CORPUS_CODES.get("_".join(parts), "-".join(parts)))
    if tag is None:
        return None
    script = MODIFIER_SCRIPTS.get(modifier)
    if script and tag.script is None:
        tag = tag.update_dict({"script": script})
    elif modifier and not script:
        # `valencia` is a variant of BCP 47, `euro` is none.
        tag = _valid_tag("-".join([*parts, modifier])) or tag
    if tag.language not in OWN_LANGUAGES:
        tag = tag.prefer_macrolanguage()
    return None if tag.language is None or tag.language in NO_LANGUAGES else tag


def _valid_tag(text):
    """`langcodes.Language`, or None."""
    try:
        tag = langcodes.Language.get(text)
    except langcodes.LanguageTagError:
        return None
    if tag.extlangs:
        extended = _without_extension(tag)
        return None if extended is None else _valid_tag(extended)
    if text.split("-")[0] in OWN_LANGUAGES and tag.language not in OWN_LANGUAGES:
        tag = langcodes.Language.get(text, normalize=False)
    return tag if tag.is_valid() and not (tag.private or "").startswith(UNNAMED) else None


def _without_extension(tag):
    """The text of a tag with its extended language in place of the language: `arz` of `ar-arz` (BCP 47, section 4.5).

    langcodes takes any three letters for an extended language (`zh-chs`, `en-deu`), so the registry has to have it
    for this language; None if it has not.
    """
    (extended, *others) = tag.extlangs
    if others or extended_languages().get(extended) != tag.language:
        return None
    parts = [extended, tag.script, tag.territory, *(tag.variants or ())]
    return "-".join(filter(None, parts))


@functools.cache
def extended_languages() -> dict[str, str]:
    """dict of extended language to the language that it stands behind, of IANA's registry: `arz` to `ar`."""
    items = langcodes.registry_parser.parse_registry()
    return {item["Subtag"]: item["Prefix"][0] for item in items if item["Type"] == "extlang"}


@functools.cache
def merged_languages() -> dict[str, str]:
    """dict of a language that was merged into another one to that, of IANA's registry: `kzj` to `dtp`.

    Left out are codes of two letters: `iw` and `mo` are earlier codes of the same language.
    """
    items = langcodes.registry_parser.parse_registry()
    return {
        item["Subtag"]: item["Preferred-Value"]
        for item in items
        if item["Type"] == "language" and len(item["Subtag"]) == 3 and item.get("Preferred-Value")
    }


@functools.cache
def registered_tags() -> set[tuple[str, ...]]:
    """Parts of the tags that IANA's registry has as a whole, lower case: (i, lux), (sgn, be, fr), (zh, yue)."""
    items = langcodes.registry_parser.parse_registry()
    return {tuple(item["Tag"].lower().split("-")) for item in items if item["Type"] in ("grandfathered", "redundant")}


@functools.cache
def whole_tags() -> set[tuple[str, ...]]:
    """The `registered_tags` that are no pair of languages.

    Left out are those of two parts that are two codes of languages as well: `zh-yue` may be Chinese and Cantonese.
    """
    return {parts for parts in registered_tags() if len(parts) > 2 or len(parts[0]) == 1 or len(parts[1]) > 3}


def _ordered(parts):
    """Parts of a tag with a script behind the country moved before it: `sr_SP_Latn`, as Windows once wrote it."""
    if len(parts) > 2 and len(parts[1]) == 2 and re.fullmatch("[a-z]{4}", parts[2]):
        return [parts[0], parts[2], parts[1], *parts[3:]]
    return parts
