"""Codes of languages in every convention that corpora and tools use, and languages in the names of files."""

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_among, language_or_none, pair_name, variety_or_none
from infoxlm_keras.text.readers.names import find_pair, moses_sides, split_pair

# One name, and what FLORES-101, FLORES-200, NTREX, OPUS, CC-100, Tatoeba, TMX tools, Windows, Java, POSIX locales,
# gettext, Wikipedia, ISO 639-2/B and ISO 639 before 1990 call it.
NAMES = {
    "en": "en eng eng_Latn EN-US en-us en_GB en_US.UTF-8 en@quot en_US_POSIX ENG",
    "de": "de deu ger de-DE DE-AT de_DE.UTF-8 de_DE@euro de_DE.ISO-8859-15@euro deu_Latn de-CH-1901",
    "fr": "fr fra fre fra-CA FR-FR fr_CA.utf8",
    "zh": "zh zho chi cmn zho_Hans zho_simpl zh_cn zh-CN zho-CN zh-Hans zh-CHS ZH-CHS zh_chs zh-Hans-CN zh_CN.GB2312",
    "zh_Hant": "zh_Hant zho_Hant zho_trad zh_TW zh-TW zho-TW zh-HK zh-CHT ZH-CHT zh_cht zh_TW.Big5 zh-Hant-TW zh_tw",
    "pt": "pt por pt_br pt-BR PT-PT por_Latn por-BR pt_BR.UTF-8",
    "sr": "sr srp sr_Cyrl srp_Cyrl srp-Cyrl scc sr@cyrillic sr-SP-Cyrl sr@ijekavian",
    "sr_Latn": "sr_Latn sr@latin sr@Latn sr_RS@latin srp-Latn sr_latin sr-SP-Latn sh hbs sr@ijekavianlatin",
    "uz_Cyrl": "uz_Cyrl uz@cyrillic uz_UZ@cyrillic uzb_Cyrl",
    "ca": "ca cat ca@valencia ca-valencia cat_Latn ca_ES@valencia",
    "cs": "cs ces cze",
    "el": "el ell gre",
    "he": "he heb iw iw_IL heb_Hebr",
    "id": "id ind in in_ID ind_Latn",
    "yi": "yi ji yid ydd_Hebr",
    "jv": "jv jw jav jav_Latn map-bms",
    "ro": "ro ron rum mo mo_MD ron_Latn",
    "no": "no nb nob no_NO nb_NO nob_Latn",
    "nn": "nn nno nn_NO no_NO_NY nno_Latn",
    "tl": "tl tgl fil tgl_Latn fil_PH",
    "ko": "ko kor kor_Hang ko_KR.UTF-8",
    "ja": "ja jpn jpn_Jpan ja_JP.EUC-JP",
    "my": "my mya bur mya_Mymr",
    "my_Qaag": "my_zaw",
    "bn_Latn": "bn_rom bn-Latn",
    "nso": "ns nso nso_Latn",
    "fa": "fa fas per pes pes_Arab",
    "sq": "sq sqi alb als_Latn",
    "lzh": "lzh zh-classical zh_classical",
    "nan": "nan zh-min-nan zh_min_nan",
    "yue": "yue yue_Hant zh-yue",
    "vro": "vro fiu-vro",
    "sgs": "sgs bat-smg",
    "ar": "ar ara arb arb_Arab ar_EG.UTF-8",
    "es": "es spa ES-419 es_419 spa_Latn es-XM",
    "nds": "nds nds-nl nds_NL",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_language_has_one_name_in_every_convention(name):
    assert {code: language_or_none(code) for code in NAMES[name].split()} == dict.fromkeys(NAMES[name].split(), name)


@pytest.mark.parametrize(
    "code", "xx zz und mul x-none en-deu eng-zho ze_en app.po de.po @latin de@ de.txt a e english".split()
)
def test_what_is_no_language_is_none(code):
    assert language_or_none(code) is None


def test_varieties_of_one_language_are_a_pair_and_keep_their_countries():
    assert pair_name("pt", "pt_br", "x") == "pt-pt_BR"
    assert pair_name("pt-PT", "pt-BR", "x") == "pt_PT-pt_BR"
    assert pair_name("zh_HK", "zh-TW", "x") == "zh_Hant_HK-zh_Hant_TW"
    assert pair_name("ca", "ca@valencia", "x") == "ca-ca_valencia"
    assert pair_name("en", "pt_br", "x") == "en-pt"
    with pytest.raises(InputError, match="names de on both sides"):
        pair_name("de", "deu", "x")
    for code, languages, found in (
        ("pt-BR", ("pt", "pt_BR"), "pt_BR"),
        ("por", ("pt", "pt_BR"), "pt"),
        ("pt-PT", ("pt", "pt_BR"), "pt"),
        ("pt-BR", ("en", "pt"), "pt"),
        ("pt", ("pt_PT", "pt_BR"), None),
        ("EN-GB", ("en", "pt"), "en"),
        ("rubbish", ("en", "pt"), None),
    ):
        assert language_among(code, languages) == found
    assert (variety_or_none("sr_RS@latin"), variety_or_none("xx")) == ("sr_Latn_RS", None)


@pytest.mark.parametrize(
    ("stem", "pair"),
    [
        ("en-de", ("en", "de")),
        ("corpus.v1.en-de", ("en", "de")),
        ("corpus_en-de", ("en", "de")),
        ("dev_de-en", ("de", "en")),  # `dev` is Domung, but not as written in Germany
        ("pt_br-en", ("pt_br", "en")),  # not Breton
        ("zh_tw-en", ("zh_tw", "en")),  # not Twi
        ("heldout.en_US-de_DE", ("en_US", "de_DE")),
        ("eng-zho-CN", ("eng", "zho-CN")),
        ("zho-CN-eng", ("zho-CN", "eng")),
        ("en-us-de-de", ("en-us", "de-de")),
        ("EN-DE", ("EN", "DE")),
        ("EN-GB-hi", ("EN-GB", "hi")),
        ("hi-EN-GB", ("hi", "EN-GB")),
        ("pt-BR", None),  # one language, not Portuguese and Breton
        ("corpus_v1_sr_Latn-en", ("sr_Latn", "en")),
        ("zho_Hans-eng_Latn", ("zho_Hans", "eng_Latn")),
        ("sr@latin-en", ("sr@latin", "en")),
        ("pt-pt_br", ("pt", "pt_br")),
        ("en-xx", ("en", "xx")),  # an error with a better message than "not named"
        ("foo-bar-baz", None),
        ("2019-ref", None),
        ("parallel-en", None),
        ("notes", None),
    ],
)
def test_a_pair_in_a_name(stem, pair):
    assert find_pair(stem, stem) == pair


@pytest.mark.parametrize(
    ("name", "codes", "number"),
    [
        ("X.eng-zho-CN.eng", ("eng", "zho-CN"), 0),
        ("X.eng-zho-CN.zho-CN", ("eng", "zho-CN"), 1),
        ("en-pt-br.pt-br", ("en", "pt-br"), 1),
        ("X.en-pt-br.en", ("en", "pt-br"), 0),
        ("tatoeba.deu-eng.eng", ("deu", "eng"), 1),
        ("X.en-zh_cn.zh", ("en", "zh_cn"), 1),
        ("X.pt-pt_br.pt_br", ("pt", "pt_br"), 1),
        ("X.pt-pt-BR.pt", ("pt", "pt-BR"), 0),
        ("X.en-de.fr", ("en", "de"), None),
    ],
)
def test_the_sides_of_moses_files(name, codes, number):
    assert moses_sides(name, name) == (name.rpartition(".")[0], codes, number)


@pytest.mark.parametrize("name", ["README.txt", "X.en-de.ids", "X.en-de.xml", "a-b.txt", "en.txt", "LICENSE"])
def test_other_files_are_no_moses_files(name):
    assert moses_sides(name, name) is None


def test_a_name_that_may_be_two_pairs_is_refused():
    with pytest.raises(InputError, match=r"x.tsv: 'en-pt-br' may be en and pt-br, or en-pt and br; .* en-pt_br"):
        split_pair("en-pt-br", "x.tsv")
