"""Held-out pairs from files."""

import bz2
import gzip
import os
import pathlib

import pytest
import zstandard

from corpus_files import archive, catalog, json_lines, moses, tatoeba, tmx_pairs, translations, tsv
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import PairSet, is_english, parallel_sentences, read_pair_sets

GERMAN, ENGLISH = "Haus\nFluss\nBrücke\n", "house\nriver\nbridge\n"


def write(directory, files):
    for name, text in files.items():
        data = text if isinstance(text, bytes) else text.encode("utf-8")
        (directory / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


@pytest.mark.parametrize(
    "files, source, target",
    [
        ({"tatoeba.deu-eng.deu": GERMAN, "tatoeba.deu-eng.eng": ENGLISH}, "en", "de"),
        ({"corpus.v1.en-de.en": ENGLISH, "corpus.v1.en-de.de": GERMAN}, "en", "de"),
        ({"en-de.en.gz": ENGLISH, "en-de.de": GERMAN}, "en", "de"),
        ({"en-de.tsv": "house\tHaus\nriver\tFluss\nbridge\tBrücke\n"}, "en", "de"),
        ({"de-en.tsv.gz": "Haus\thouse\nFluss\triver\nBrücke\tbridge"}, "en", "de"),
        ({"de-en.tsv": "\ufeffHaus\thouse\r\n\r\nFluss\triver\r\nBrücke\tbridge\r\n"}, "en", "de"),
        ({"x.de-en.de": "Haus\n\nFluss\nBrücke\n\n", "x.de-en.en": "house\n\nriver\nbridge\n\n"}, "en", "de"),
    ],
)
def test_every_format_gives_the_same_pairs_with_english_as_the_source(tmp_path, files, source, target):
    write(tmp_path, files)
    for inputs in ([tmp_path], sorted(tmp_path.iterdir())):
        (pair_set,) = read_pair_sets(inputs)
        assert (pair_set.source_language, pair_set.target_language, pair_set.language) == (source, target, target)
        assert pair_set.sources == ["house", "river", "bridge"]
        assert pair_set.targets == ["Haus", "Fluss", "Brücke"]
        assert {name.rpartition("/")[2] for name in pair_set.files} == set(files)


def test_languages_are_sorted_cut_and_a_pair_without_english_keeps_its_order(tmp_path):
    write(tmp_path, {"en-hi.tsv": "a\tb\nc\td\ne\tf\n", "de-fr.tsv": "a\tb\nc\td\n", "README.md": "not a pair file"})
    french, hindi = read_pair_sets([tmp_path], max_pairs=2)
    assert (french.language, french.source_language, french.sources) == ("de-fr", "de", ["a", "c"])
    assert (hindi.language, hindi.targets) == ("hi", ["b", "d"])


BAD_INPUT = {
    "nothing there": (None, ["missing", "no such file"]),
    "no pair file": ({"notes.txt": "hello"}, ["<src>-<tgt>.tsv"]),
    "empty file": ({"en-de.tsv": ""}, ["en-de.tsv", "holds 0 pairs"]),
    "empty files": ({"t.deu-eng.deu": "", "t.deu-eng.eng": ""}, ["t.deu-eng.deu", "holds 0 pairs"]),
    "one pair": ({"en-de.tsv": "house\tHaus\n"}, ["en-de.tsv", "holds 1 pairs", "at least two"]),
    "unequal": (
        {"t.de-en.de": "a\nb\nc\n", "t.de-en.en": "a\nb\n"},
        ["t.de-en.de", "has 3 lines", "t.de-en.en has 2"],
    ),
    "other side missing": ({"t.de-en.de": "a\nb\n"}, ["t.de-en.de", "t.de-en.en is not among"]),
    "one column": ({"en-de.tsv": "a\tb\nhouse\n"}, ["en-de.tsv: line 2", "1 column"]),
    "three columns": ({"en-de.tsv": "a\tb\tc\n"}, ["en-de.tsv: line 1", "has 3 column", "cut -f"]),
    "empty source": ({"en-de.tsv": "a\tb\n \tHaus\n"}, ["en-de.tsv: line 2", "empty on one side"]),
    "empty side": ({"t.de-en.de": "a\nb\nc\n", "t.de-en.en": "a\nb\n \n"}, ["t.de-en.en: line 3", "remove the pair"]),
    "not UTF-8": ({"en-de.tsv": b"a\tb\nc\t\xe4\n"}, ["en-de.tsv: line 2", "UTF-8"]),
    "not gzip": ({"en-de.tsv": gzip.compress(b"a\tb\n")}, ["en-de.tsv", ".gz"]),
    "twice beside a shared side": (
        {"eng_Latn.dev": "a\nb\n", "deu_Latn.dev": "c\nd\n", "ger_Latn.dev": "e\nf\n"},
        ["deu_Latn.dev", "pairs of de", "ger_Latn.dev"],
    ),
    "twice": (
        {"en-de.tsv": "a\tb\nc\td\n", "x.de-en.de": "a\nb\n", "x.de-en.en": "a\nb\n"},
        ["x.de-en", "pairs of de"],
    ),
}


@pytest.mark.parametrize("files, words", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_named(tmp_path, files, words):
    write(tmp_path, files or {})
    with pytest.raises(InputError) as caught:
        read_pair_sets([tmp_path if files else tmp_path / "missing"])
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("max_pairs", [1, 0, -3])
def test_a_limit_below_two_is_refused(tmp_path, max_pairs):
    with pytest.raises(InputError, match="at least 2"):
        read_pair_sets([tmp_path], max_pairs)


def test_parallel_sentences_are_those_that_every_language_has():
    german = PairSet("en", "de", ["house", "river", "bridge"], ["Haus", "Fluss", "Brücke"], ())
    hindi = PairSet("en", "hi", ["bridge", "forest", "house"], ["पुल", "वन", "घर"], ())
    assert parallel_sentences([german, hindi]) == {
        "en": ["house", "bridge"],
        "de": ["Haus", "Brücke"],
        "hi": ["घर", "पुल"],
    }
    assert parallel_sentences([german, hindi], count=1) == {"en": ["house"], "de": ["Haus"], "hi": ["घर"]}
    french = PairSet("en", "fr", ["tree"], ["arbre"], ())
    assert parallel_sentences([german, french]) == {"en": [], "de": [], "fr": []}


def held_out_forms():
    """name: (files, input below the folder or "."): the same three pairs under other codes and in other formats."""
    pairs = list(zip(ENGLISH.split(), GERMAN.split(), strict=True))
    reversed_pairs = [pair[::-1] for pair in pairs]
    return {
        "TMX": ({"heldout.en_US-de_DE.tmx": tmx_pairs(pairs)}, "."),
        "TMX of three letters": ({"heldout.eng-deu.tmx": tmx_pairs(pairs)}, "."),
        "TMX of three letters inside": ({"en-de.tmx": tmx_pairs(pairs, ("eng", "ger"))}, "."),
        "TMX without names": ({"memory.tmx": tmx_pairs(pairs, ("EN-US", "DE-DE"))}, "."),
        "TMX from German": ({"memory.tmx": tmx_pairs(reversed_pairs, ("de-DE", "en-US"))}, "."),
        "JSON": ({"eng-deu.jsonl": json_lines(translations(pairs, ("EN-GB", "de-AT")))}, "."),
        "Tatoeba's export": (tatoeba(pairs), "deu-eng={}"),
        "archive": ({"a.zip": archive({"X.deu-eng.deu": moses(pairs, 1), "X.deu-eng.eng": moses(pairs, 0)})}, "."),
        "gettext": ({"de_DE.po": catalog(pairs, "de_DE.UTF-8")}, "."),
        "zstd": ({"ger-ENG.tsv.zst": zstandard.ZstdCompressor().compress(tsv(reversed_pairs))}, "{}/ger-ENG.tsv.zst"),
        "bzip2": ({"deu_Latn-eng_Latn.tsv.bz2": bz2.compress(tsv(reversed_pairs))}, "."),
        "FLORES": ({"deu_Latn.devtest": moses(pairs, 1), "eng_Latn.devtest": moses(pairs, 0)}, "."),
        "NTREX": ({"n-src.eng.txt": moses(pairs, 0), "n-ref.deu.txt": moses(pairs, 1)}, "."),
        "two files": ({"a": moses(pairs, 1), "b": moses(pairs, 0)}, "ger-en={0}/a,{0}/b"),
    }


@pytest.mark.parametrize("form", held_out_forms())
def test_what_the_builders_read_is_read_under_any_code_of_its_languages(form, tmp_path):
    files, address = held_out_forms()[form]
    (tmp_path / "pairs").mkdir()
    for name, content in files.items():
        (tmp_path / "pairs" / name).write_bytes(content)
    item = tmp_path / "pairs" if address == "." else address.format(tmp_path / "pairs")
    (pair_set,) = read_pair_sets([item])
    assert (pair_set.source_language, pair_set.target_language, pair_set.language) == ("en", "de", "de")
    assert (pair_set.sources, pair_set.targets) == (ENGLISH.split(), GERMAN.split())


@pytest.mark.parametrize("code", ["en", "eng", "eng_Latn", "en_US", "EN-GB", "en-US"])
def test_english_is_the_source_whatever_it_is_called_and_wherever_it_stands(code, tmp_path):
    for name, rows in ((f"{code}-hi", "a\tx\nb\ty\n"), (f"hi-{code}", "x\ta\ny\tb\n")):
        (tmp_path / f"{name}.tsv").write_text(rows)
        (pair_set,) = read_pair_sets([tmp_path / f"{name}.tsv"])
        assert pair_set == PairSet("en", "hi", ["a", "b"], ["x", "y"], (str(tmp_path / f"{name}.tsv"),))
    assert is_english(code) and not is_english("de") and not is_english("english")


def test_the_direction_of_other_pairs_does_not_depend_on_the_name_either(tmp_path):
    write(tmp_path, {"fra-deu.tsv": "a\tx\nb\ty\n", "pt_br-pt.tsv": "c\tz\nd\tw\n"})
    german, portuguese = read_pair_sets([tmp_path])
    assert (german.language, german.sources, german.targets) == ("de-fr", ["x", "y"], ["a", "b"])
    assert (portuguese.language, portuguese.sources) == ("pt-pt_BR", ["z", "w"])


def test_test_sets_in_varieties_of_a_language_are_told_apart(tmp_path):
    write(
        tmp_path,
        {
            "n-src.eng.txt": "one\ntwo\n",
            "n-ref.fra.txt": "un\ndeux\n",
            "n-ref.fra-CA.txt": "UN\nDEUX\n",
            "n-ref.eng-US.txt": "ONE\nTWO\n",
            "n-ref.zho-CN.txt": "a\nb\n",
            "README": "x",
        },
    )
    found = read_pair_sets([tmp_path])
    assert {pair_set.language: pair_set.targets[0] for pair_set in found} == {
        "fr": "un",
        "fr_CA": "UN",
        "zh": "a",
    }
    assert {pair_set.sources[0] for pair_set in found} == {"one"}
    # American English is no translation of the English source.
    assert [item.name for item in found.passed_over] == ["README", "n-ref.eng-US.txt"]


def test_languages_that_were_merged_are_two_test_sets(tmp_path):
    """Tatoeba has files of Coastal Kadazan (kzj) and of Kadazan Dusun (dtp), of which ISO 639 made one language."""
    for code in ("dtp", "kzj", "deu"):
        sides = {f"tatoeba.{code}-eng.{code}": f"{code} 1\n{code} 2\n", f"tatoeba.{code}-eng.eng": "one\ntwo\n"}
        write(tmp_path, sides)
    found = read_pair_sets([tmp_path])
    assert {pair_set.language: pair_set.targets[0] for pair_set in found} == {
        "de": "deu 1",
        "dtp": "dtp 1",
        "kzj": "kzj 1",
    }
    # Alone it has the name of today.
    for name in ("dtp.dtp", "dtp.eng"):
        (tmp_path / f"tatoeba.{name.replace('.', '-eng.')}").unlink()
    assert [pair_set.language for pair_set in read_pair_sets([tmp_path])] == ["de", "dtp"]


def test_two_codes_of_one_language_are_still_one_test_set(tmp_path):
    write(tmp_path, {"de-en.tsv": "a\tx\nb\ty\n", "deu-eng.tsv": "a\tx\nb\ty\n"})
    with pytest.raises(InputError, match="holds pairs of de, as .* does"):
        read_pair_sets([tmp_path])


def test_what_readers_leave_out_is_counted(tmp_path):
    extra = '\n#, fuzzy\nmsgid "perhaps"\nmsgstr "vielleicht"\n'
    (tmp_path / "de.po").write_bytes(catalog([("a", "A"), ("b", "B")], extra=extra))
    assert [(item.name, item.reason) for item in read_pair_sets([tmp_path]).passed_over] == [
        ("de.po", "1 pairs of en-de (fuzzy)")
    ]


def test_the_published_test_set_is_read_under_one_name_a_language():
    folder = os.environ.get("INFOXLM_EVAL_DATA")
    if folder is None:
        pytest.skip("INFOXLM_EVAL_DATA does not name a folder with the 36 languages of Tatoeba's test set")
    folder = pathlib.Path(folder) / "tatoeba"
    codes = {path.name.split(".")[1].split("-")[0] for path in folder.glob("tatoeba.*.eng")}
    found = read_pair_sets([folder])
    assert len(found) == len(codes) == 36 and not found.passed_over
    assert {pair_set.source_language for pair_set in found} == {"en"}
    assert all(len(pair_set.language) == 2 for pair_set in found)
    for pair_set in found:
        english = next(file for file in pair_set.files if file.endswith(".eng"))
        lines = pathlib.Path(english).read_text(encoding="utf-8").rstrip("\n").split("\n")
        assert pair_set.sources == [line.strip() for line in lines]
