"""Held-out pairs from files."""

import gzip

import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import PairSet, parallel_sentences, read_pair_sets

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
    "three columns": ({"en-de.tsv": "a\tb\tc\n"}, ["en-de.tsv: line 1", "cut -f1,2"]),
    "empty source": ({"en-de.tsv": "a\tb\n \tHaus\n"}, ["en-de.tsv: line 2", "empty on one side"]),
    "empty side": ({"t.de-en.de": "a\nb\nc\n", "t.de-en.en": "a\nb\n \n"}, ["t.de-en.en: line 3", "remove the pair"]),
    "not UTF-8": ({"en-de.tsv": b"a\tb\nc\t\xe4\n"}, ["en-de.tsv: line 2", "UTF-8"]),
    "not gzip": ({"en-de.tsv": gzip.compress(b"a\tb\n")}, ["en-de.tsv", ".gz"]),
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
