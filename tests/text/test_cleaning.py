"""Cleaning: each step alone, all together, and through the commands."""

import gzip
import pickle
import unicodedata

import ftfy
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from corpus_files import tsv
from infoxlm_keras.building.bitext_encoder import BitextEncoder
from infoxlm_keras.building.monolingual_encoder import MonolingualEncoder
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.cleaning import Cleaning
from infoxlm_keras.text.cleaning.control_characters import remove_control_characters
from infoxlm_keras.text.cleaning.evaluation_text import read_evaluation_text
from infoxlm_keras.text.cleaning.identity import text_digest
from infoxlm_keras.text.cleaning.language_identification import ALIKE, LanguageIdentification
from infoxlm_keras.text.cleaning.lengths import LengthLimits
from infoxlm_keras.text.cleaning.near_duplicates import NearDuplicates
from infoxlm_keras.text.cleaning.normalization import normalize
from infoxlm_keras.text.cleaning.unicode_repair import MISTAKEN_FOR, repair
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from running import run, tree
from sample_text import sentences

# Real sentences, long enough to tell a language by: the words of `sample_text` are too few.
IN_LANGUAGE = {
    "de": "Die Wissenschaftler haben gestern ihre neuen Ergebnisse in Berlin vorgestellt.",
    "en": "The scientists presented their new results at a conference in London yesterday.",
    "fr": "Les chercheurs ont présenté hier leurs nouveaux résultats lors d'une conférence à Paris.",
    "hi": "वैज्ञानिकों ने कल दिल्ली में एक सम्मेलन में अपने नए परिणाम प्रस्तुत किए।",
    "ru": "Учёные вчера представили свои новые результаты на конференции в Москве.",
    "zh": "科学家们昨天在北京举行的一次重要会议上向公众介绍了他们最新的研究成果和未来几年的计划。",
}
LINE = st.text(st.characters(codec="utf-8"), max_size=12).map(lambda text: text.strip())


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("MÃ¼nchen ist schÃ¶n", "München ist schön"),
        ("voilÃ  le thÃ©Ã¢tre", "voilà le théâtre"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€", "привет мир"),
        ("РџСЂРёРІРµС‚, РјРёСЂ", "Привет, мир"),
        ("donâ€™t â€œdoâ€\x9d it", "don’t “do” it"),
        ("à¤¨à¤¦à¥€ à¤\x98à¤°", "नदी घर"),
        ("ä¸­æ–‡", "中文"),
        ("it\x92s", "it’s"),
    ],
)
def test_wrong_decoding_is_undone(wrong, meant):
    assert repair([wrong]) == [meant]


@pytest.mark.parametrize(
    "text",
    [
        *IN_LANGUAGE.values(),
        "À l’été, voilà où la grève «très» élevée s’arrête",
        "Đây là một câu tiếng Việt bình thường",
        "“quotes” ﬁne ｆｕｌｌ &amp; l\u2028ine \x1b[1m",
    ],
)
def test_good_text_is_left_alone(text):
    assert repair([text]) == [text]


@hypothesis.given(LINE, st.sampled_from(MISTAKEN_FOR))
def test_looking_first_hides_nothing_from_the_repair(text, charset):
    wrong = text.encode().decode(charset, "ignore")
    wrong = wrong.replace("\x85", "")
    options = {"unescape_html": False, "remove_terminal_escapes": False, "fix_latin_ligatures": False}
    options |= {"fix_character_width": False, "uncurl_quotes": False, "fix_line_breaks": False}
    options |= {"remove_control_chars": False, "normalization": None}
    assert repair([wrong]) == [ftfy.fix_text(wrong, ftfy.TextFixerConfig(**options))]


@hypothesis.given(st.lists(LINE, max_size=4))
def test_normalization_is_nfkc(lines):
    assert normalize(lines) == [unicodedata.normalize("NFKC", line) for line in lines]


def test_control_characters_go_and_joiners_stay():
    assert remove_control_characters(
        ["a\x07b\0c\x7f", "\ufeffa\ufffe", "a\tb\u2028\u2029c\x85d", "می\u200cخواهم"]
    ) == [
        "abc",
        "a",
        "a b c d",
        "می\u200cخواهم",
    ]
    assert Cleaning().rewrite(["a\x01\u0301 \u3000", "ﬁ①", "e\u0301", "क\u094dष"]) == ["á", "fi1", "é", "क\u094dष"]


@hypothesis.given(st.lists(LINE, max_size=6))
def test_text_without_control_characters_has_none(lines):
    for line in remove_control_characters(lines):
        assert not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in line)


@hypothesis.given(st.lists(LINE, max_size=6))
def test_cleaning_twice_changes_nothing(lines):
    cleaning = Cleaning(repair=False)
    once = cleaning.rewrite(lines)
    assert cleaning.rewrite(once) == once


@pytest.mark.parametrize(
    ("limits", "texts", "reasons"),
    [
        ({}, ["a", "a " * 999], [None, None]),
        (
            {"min_characters": 2, "max_characters": 4},
            ["a", "ab", "abcd", "abcde"],
            ["characters", None, None, "characters"],
        ),
        ({"min_words": 2}, ["a", "a  b", "中文"], ["words", None, "words"]),
        ({"max_words": 2}, ["a b", "a b c"], [None, "words"]),
    ],
)
def test_limits_of_length(limits, texts, reasons):
    assert [LengthLimits(**limits).sentence_reason(text) for text in texts] == reasons


def test_limit_of_the_ratio_of_lengths():
    limits = LengthLimits(max_ratio=2.5)
    assert [limits.pair_reason("ab", "a" * size) for size in (1, 5, 6)] == [None, None, "character_ratio"]
    assert limits.pair_reason("a" * 6, "ab") == "character_ratio"


@pytest.mark.parametrize("language", IN_LANGUAGE)
def test_a_sentence_in_another_language_is_found(language):
    identification = LanguageIdentification()
    for other, text in IN_LANGUAGE.items():
        assert identification.is_foreign(language, text) == (language != other)
    # Too short to tell, a language that the model does not know, and one in another script.
    assert not identification.is_foreign(language, "12 km")
    assert not identification.is_foreign("lg", IN_LANGUAGE["en"])
    assert not identification.is_foreign("bn_Latn", IN_LANGUAGE["en"])


def test_languages_that_are_alike_are_no_strangers():
    identification = LanguageIdentification(confidence=0.01)
    assert all(language_or_none(name) == name for group in ALIKE for name in group)
    assert not identification.is_foreign("zh_Hant", IN_LANGUAGE["zh"])
    norwegian = "I går kveld la forskerne fram de nye resultatene sine, og mange tilhørere stilte spørsmål."
    assert not any(identification.is_foreign(language, norwegian) for language in ("no", "nn", "da"))
    assert identification.is_foreign("sv", norwegian)


def test_near_duplicates_share_keys_as_often_as_the_formula_says():
    """Rows of 100 shingles of which m are common: similarity s = m / (200 - m), keys met 1 - (1 - s^13)^9."""
    generator = np.random.default_rng(0)
    keys = NearDuplicates(shingle=1).keys
    for common in (50, 90, 95, 99):
        similarity = common / (200 - common)
        expected = 1 - (1 - similarity**13) ** 9
        units = generator.choice(10**9, size=(600, 200 - common), replace=False)
        rows = np.stack([units[:, :100], np.concatenate([units[:, :common], units[:, 100:]], axis=1)], axis=1)
        found = keys(rows.ravel(), np.arange(1201) * 100)
        met = np.mean([not set(found[2 * pair]).isdisjoint(found[2 * pair + 1]) for pair in range(600)])
        assert abs(met - expected) < 4 * max(np.sqrt(expected * (1 - expected) / 600), 0.002)


def test_keys_of_near_duplicates_ignore_case_and_white_space():
    near_duplicates = NearDuplicates()
    text = IN_LANGUAGE["fr"]
    found = near_duplicates.text_keys([text, text.upper().replace(" ", "  "), IN_LANGUAGE["de"], "kurz", ""])
    assert len(found[0]) == 9 and found[0] == found[1] and set(found[0]).isdisjoint(found[2])
    assert found[3:] == [(), ()]
    # Shingles do not cross from one text to the next.
    assert near_duplicates.text_keys([text])[0] == found[0]


@hypothesis.given(st.lists(st.tuples(LINE, LINE), max_size=6))
def test_a_digest_stands_for_one_pair(pairs):
    pairs = [tuple(text.replace("\n", " ") for text in pair) for pair in pairs]
    assert len({text_digest(*pair) for pair in pairs}) == len(set(pairs))


def test_evaluation_sentences_are_found_whole_and_in_part(tmp_path):
    long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    held_out = f"Hello, world!\n{long}\n今天天气很好我们去公园散步吧\tनमस्ते दुनिया\n\n"
    (tmp_path / "test.tsv.gz").write_bytes(gzip.compress(held_out.encode()))
    whole = read_evaluation_text([tmp_path / "test.tsv.gz"])
    parts = read_evaluation_text([tmp_path / "test.tsv.gz"], ngram=5)
    table = {
        "hello world": (True, True),
        "HELLO — WORLD": (True, True),
        "hello worlds": (False, False),
        "and six seven, eight nine ten": (False, True),
        "six seven eight nine eleven ten": (False, False),
        "今天天气很好，我们去公园散步吧。": (True, True),
        "昨天天气很好": (False, True),
        "नमस्ते, दुनिया": (True, True),
        # Another word: vowel signs are letters here.
        "नमस्ता दुनिया": (False, False),
        long.upper(): (True, True),
    }
    assert {text: (whole.overlaps(text), parts.overlaps(text)) for text in table} == table
    assert pickle.loads(pickle.dumps(parts)) == parts


def all_steps(tmp_path):
    (tmp_path / "test.txt").write_text("Hello world\n")
    return Cleaning(
        lengths=LengthLimits(min_characters=2, max_words=20, max_ratio=3),
        language=LanguageIdentification(),
        evaluation=read_evaluation_text([tmp_path / "test.txt"]),
        repeated_lines=True,
        samples=2,
    )


def test_sentences_are_dropped_for_the_first_reason_and_documents_stay(tmp_path):
    cleaning = pickle.loads(pickle.dumps(all_steps(tmp_path)))
    german = IN_LANGUAGE["de"]
    lines = ["schÃ¶n", "", german, "\x07", "x", "Hello, world", "w " * 21, "", IN_LANGUAGE["en"], german, "yy", "y"]
    cleaned = cleaning.sentences("de", lines)
    assert cleaned.lines == ["schön", "", german, "", "yy"]
    expected = {"empty": 1, "characters": 2, "evaluation": 1, "words": 1, "language": 1, "repeated": 1}
    assert cleaned.dropped == expected
    assert cleaned.samples["characters"] == ["x", "y"] and cleaned.samples["language"] == [IN_LANGUAGE["en"]]
    more = cleaning.sentences("de", ["x", "y", "z"])
    assert more.dropped == {"characters": 3} and more.samples == {"characters": ["x", "y"]}


def test_pairs_are_dropped_for_the_first_reason(tmp_path):
    german, english = IN_LANGUAGE["de"], IN_LANGUAGE["en"]
    pairs = [
        (english, german),
        (german, english),
        ("", "b"),
        ("ﬁne", "fine"),
        ("aa", "b" * 7),
        ("Hello world.", "Hallo Welt"),
    ]
    cleaned = all_steps(tmp_path).pairs(("en", "de"), pairs)
    assert cleaned.pairs == [(english, german)]
    assert cleaned.dropped == {"language": 1, "empty": 1, "identical": 1, "character_ratio": 1, "evaluation": 1}
    assert cleaned.samples["identical"] == ["fine\tfine"]


@hypothesis.given(st.lists(st.tuples(LINE, LINE), max_size=8))
def test_every_text_is_kept_or_counted(pairs):
    cleaning = Cleaning(lengths=LengthLimits(min_characters=2, max_characters=8, max_ratio=2), repeated_lines=True)
    cleaned = cleaning.pairs(("en", "de"), pairs)
    assert len(cleaned.pairs) + sum(cleaned.dropped.values()) == len(pairs)
    lines = [source for source, _ in pairs]
    cleaned = cleaning.sentences("en", lines)
    assert sum(map(bool, cleaned.lines)) + sum(cleaned.dropped.values()) == sum(map(bool, lines))
    assert cleaned.lines.count("") == lines.count("")


def test_encoders_hand_on_samples_and_keys(tmp_path, tokenizer):
    pairs = list(zip(sentences("en", 20), sentences("de", 20), strict=True))
    (tmp_path / "en-de.tsv").write_bytes(tsv([*pairs, ("a", "a")]))
    (tmp_path / "de.txt").write_text("".join(f"{target}\n" for _, target in pairs) + "\x07\n", encoding="utf-8")
    cleaning = Cleaning(near_duplicates=NearDuplicates())
    (reader,) = find_bitext([tmp_path])
    (chunk,) = reader.chunks()
    encoded = BitextEncoder(tokenizer, (16, 64), 64, cleaning=cleaning)(reader, chunk)
    assert encoded.dropped_samples == {"identical": ["a\ta"]} and encoded.dropped["identical"] == 1
    assert len(encoded.near_identities) == len(encoded.records) == 20
    assert encoded.near_identities == cleaning.near_duplicates.text_keys(map("\n".join, pairs))
    (reader,) = find_monolingual([tmp_path])
    (chunk,) = reader.chunks()
    encoded = MonolingualEncoder(tokenizer, 32, cleaning=cleaning)(reader, chunk)
    assert encoded.dropped_samples == {"empty": ["\x07"]} and encoded.dropped["empty"] == 1
    assert len(encoded.near_identities) == len(encoded.records) > 3
    assert all(len(keys) == 9 for keys in encoded.near_identities)
    plain = MonolingualEncoder(tokenizer, 32)(reader, chunk)
    assert plain.near_identities is None and plain.dropped_samples == {} and plain.records == encoded.records


def test_the_commands_clean_alike_with_any_number_of_processes(tmp_path, tokenizer_dir):
    pairs = list(zip(sentences("en", 30), sentences("de", 30), strict=True))
    wrong = [(IN_LANGUAGE["fr"], IN_LANGUAGE["de"]), (IN_LANGUAGE["en"], IN_LANGUAGE["ru"])]
    (tmp_path / "en-de.tsv").write_bytes(tsv([*pairs, *wrong]))
    (tmp_path / "test.txt").write_text(pairs[4][0].upper() + "\n", encoding="utf-8")
    output = ("--tokenizer", tokenizer_dir, "--input", tmp_path / "en-de.tsv", "--max_length", 254)
    steps = ("--identify_language", 0.6, "--evaluation_files", tmp_path / "test.txt", "--evaluation_ngram", 13)
    for processes in (1, 2):
        name = tmp_path / f"data{processes}"
        run(build_bitext.main, *output, *steps, "--output_dir", name, "--processes", processes)
    assert tree(tmp_path / "data1") == tree(tmp_path / "data2")
    manifest = read_manifest(tmp_path / "data1", "bitext")
    (source,) = manifest.sources
    assert source.sentences == 29 and source.dropped["language"] == 2 and source.dropped["evaluation"] == 1
    settings = manifest.created_by["arguments"]["cleaning"]
    assert settings["language"] == {"confidence": 0.6, "min_characters": 30}
    assert settings["evaluation"]["sentences"] == 1 and settings["evaluation"]["ngram"] == 13


def test_no_clean_leaves_text_as_it_is(tmp_path, tokenizer_dir):
    (tmp_path / "de.txt").write_text("schÃ¶n ﬁne\n", encoding="utf-8")
    for name, flags in (("clean", []), ("as_is", ["--no_clean"])):
        output = ("--output_dir", tmp_path / name, "--processes", 1)
        run(build_monolingual.main, "--input", tmp_path / "de.txt", "--tokenizer", tokenizer_dir, *output, *flags)
    assert read_manifest(tmp_path / "as_is", "mmlm").created_by["arguments"]["cleaning"] is None
    assert tree(tmp_path / "clean/mmlm/de") != tree(tmp_path / "as_is/mmlm/de")
