"""Codes of languages in every convention that corpora and tools use, and languages in the names of files."""

import gzip

import pytest
from langcodes import registry_parser

from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_among, language_or_none, pair_name, variety_or_none
from infoxlm_keras.text.readers import find_monolingual
from infoxlm_keras.text.readers.names import find_pair, moses_sides, split_pair

# One name, and what FLORES-101, FLORES-200, NTREX, OPUS, CC-100, Tatoeba, TMX tools, Windows, Java, POSIX locales,
# gettext, Wikipedia, ISO 639-2/B and ISO 639 before 1990 call it.
NAMES = {
    "en": "en eng eng_Latn EN-US en-us en_GB en_US.UTF-8 en@quot en_US_POSIX ENG",
    "de": "de deu ger de-DE DE-AT de_DE.UTF-8 de_DE@euro de_DE.ISO-8859-15@euro deu_Latn de-CH-1901",
    "fr": "fr fra fre fra-CA FR-FR fr_CA.utf8",
    "zh": "zh zho chi cmn zh-cmn zh-cmn-Hans zh-guoyu "
    "zho_Hans zho_simpl zh_cn zh-CN zho-CN zh-Hans zh-CHS ZH-CHS zh_chs zh-Hans-CN zh_CN.GB2312",
    "zh_Hant": "zh_Hant zh-cmn-Hant "
    "zho_Hant zho_trad zh_TW zh-TW zho-TW zh-HK zh-CHT ZH-CHT zh_cht zh_TW.Big5 zh-Hant-TW zh_tw",
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
    "yue": "yue yue_Hant zh-yue zh-yue-HK",
    "vro": "vro fiu-vro",
    "sgs": "sgs bat-smg",
    "ar": "ar ara arb arb_Arab ar_EG.UTF-8",
    "es": "es spa ES-419 es_419 spa_Latn es-XM",
    "nds": "nds nds-nl nds_NL",
    # Extended languages (BCP 47) behind the language that they are registered for.
    "arz": "arz ar-arz ar_arz AR-ARZ ar-arz-EG arz_Arab",
    "ase": "ase sgn-ase sgn-US",
    "gsg": "gsg sgn-gsg sgn-DE",
    "gom": "gom kok-gom",
    "ltg": "ltg lv-ltg ltg_Latn",
    "ms": "ms msa zsm ms-zsm zsm_Latn",
    "wuu": "wuu zh-wuu",
    # Grandfathered and redundant tags.
    "tlh": "tlh i-klingon",
    "lb": "lb ltz i-lux",
    "jbo": "jbo art-lojban",
    "hak": "hak i-hak zh-hakka",
    "sfb": "sfb sgn-BE-FR",
    # Members of a group beside its chief member.
    "prs": "prs prs_Arab prs-AF",
    "tw": "tw twi twi_Latn tw_GH",
    "ak": "ak aka aka_Latn",
    "fat": "fat fat_Latn",
    "sw": "sw swa swh swh_Latn sw-KE sw-swh",
    "swc": "swc swc_Latn swc-CD sw-swc",
}


def test_every_extended_language_of_the_registry_is_itself():
    """As langcodes' own copy of IANA's registry lists them, 'Preferred-Value' included."""
    extended = [item for item in registry_parser.parse_registry() if item["Type"] == "extlang"]
    assert len(extended) > 200
    for item in extended:
        tag, preferred = f"{item['Prefix'][0]}-{item['Subtag']}", item["Preferred-Value"]
        assert language_or_none(tag) == language_or_none(preferred) != None, tag  # noqa: E711
        assert language_or_none(f"fr-{item['Subtag']}") is None


# The codes of FLORES-200.
FLORES = """ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab
arb_Latn ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn
bel_Cyrl bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn
cjk_Latn ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn
eus_Latn ewe_Latn fao_Latn fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gla_Latn gle_Latn glg_Latn grn_Latn
guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn
ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor knc_Arab knc_Latn kaz_Cyrl
kbp_Latn kea_Latn khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn
lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym
mar_Deva min_Arab min_Latn mkd_Cyrl plt_Latn mlt_Latn mni_Beng khk_Cyrl mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn
nob_Latn npi_Deva nso_Latn nus_Latn nya_Latn oci_Latn gaz_Latn ory_Orya pag_Latn pan_Guru pap_Latn pes_Arab pol_Latn
por_Latn prs_Arab pbt_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh
slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn
swh_Latn szl_Latn tam_Taml tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi taq_Latn taq_Tfng tpi_Latn tsn_Latn
tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn
war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn""".split()


def test_the_languages_of_flores_are_kept_apart():
    assert len({language_or_none(code) for code in FLORES} - {None}) == len(FLORES) == 204


@pytest.mark.parametrize("name", NAMES)
def test_a_language_has_one_name_in_every_convention(name):
    assert {code: language_or_none(code) for code in NAMES[name].split()} == dict.fromkeys(NAMES[name].split(), name)


@pytest.mark.parametrize(
    "code",
    "xx zz und mul x-none en-deu eng-zho ze_en app.po de.po @latin de@ de.txt a e english i i- i-default i-mingo "
    "i-rubbish en-arz zh-arz fr-fra ar-yue sgn-deu zh-yue-cmn".split(),
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


REGISTERED = [item for item in registry_parser.parse_registry() if item["Type"] in ("grandfathered", "redundant")]
# Their language, or None where ISO 639 has none. IANA names the rest by `Preferred-Value`.
WITHOUT_VALUE = {"cel-gaulish": "xtg", "zh-min": "nan", "i-default": None, "i-enochian": None, "i-mingo": None}
WITHOUT_VALUE["en-GB-oed"] = "en"


@pytest.mark.parametrize(
    "tag", [item["Tag"] for item in REGISTERED if "Preferred-Value" in item or "-" in item["Tag"]]
)
@pytest.mark.parametrize("change", [str, str.lower, lambda text: text.replace("-", "_")])
def test_older_tags_are_their_languages_in_names_too(tag, change):
    item = next(item for item in REGISTERED if item["Tag"] == tag)
    expected = WITHOUT_VALUE.get(tag, language_or_none(item.get("Preferred-Value", tag)))
    code = change(tag)
    assert language_or_none(code) == expected
    if expected is None or expected == "en":
        return
    if "_" in code or tag.count("-") > 1 or tag.startswith("i-"):
        assert find_pair(f"corpus.en-{code}", "x") == ("en", code)
        assert find_pair(f"{code}-en", "x") == (code, "en")
        assert moses_sides(f"X.en-{code}.{code}", "x") == (f"X.en-{code}", ("en", code), 1)


def test_texts_are_named_by_older_tags(tmp_path):
    names = {"lb": "i-lux", "nv": "X.i-navajo", "nan": "X.zh-min-nan", "jbo": "art-lojban", "sfb": "X.sgn-BE-FR"}
    for name in names.values():
        (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress(b"text\n"))
    found = find_monolingual([tmp_path])
    assert ([reader.name for reader in found], found.passed_over) == (sorted(names), [])
    (given,) = find_monolingual([f"i-lux={tmp_path}/{names['nv']}.txt.gz"])
    assert given.name == "lb"
