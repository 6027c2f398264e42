"""The same text given twice is refused, by whatever names; two texts of one file are not."""

import gzip

import pytest

from corpus_files import archive, catalog, json_lines, moses, tatoeba, tmx, translations, tsv, write_files
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import read_pair_sets
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from running import refused
from sample_text import sentences

PAIRS = list(zip(sentences("en", 5), sentences("de", 5), strict=True))
SIDES = [moses(PAIRS, side) for side in (0, 1)]
UNITS = [[("en", source), ("de", target), ("fr", "x")] for source, target in PAIRS]
FILES = {
    "a/en.txt": SIDES[0],
    "a/other.jsonl": json_lines([{"text": "one"}]),
    "b/en-de.tsv": tsv(PAIRS),
    "b/en-de.jsonl": json_lines(translations(PAIRS)),
    "c/X.en": SIDES[0],
    "c/X.de": SIDES[1],
    "d/X.en.gz": gzip.compress(SIDES[0]),
    "d/X.de.gz": gzip.compress(SIDES[1]),
    "d/X.en": SIDES[0],
    "d/X.de": SIDES[1],
    "e/memory.tmx": tmx(UNITS),
    "f/X.zip": archive({"X.en-de.en": SIDES[0], "X.en-de.de": SIDES[1]}),
    "g/de.po": catalog(PAIRS, "de"),
    **{f"h/{name}": content for name, content in tatoeba(PAIRS).items()},
    "i/wide.jsonl": json_lines([{"en": "one", "de": "eins", "fr": "un"}]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    write_files(tmp_path, FILES)
    (tmp_path / "link").symlink_to("a")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "inputs",
    [
        ["a", "en=a/en.txt"],
        ["en=a/en.txt", "a"],
        ["en=a/en.txt", "eng=a/en.txt"],
        ["a/en.txt", "en=link/en.txt"],
        ["en=a/en.txt", "de=a/en.txt"],
        ["en=a/other.jsonl", "de=a/other.jsonl"],
        ["en=h/sentences.csv", "eng=h/sentences.csv"],
    ],
)
def test_monolingual_text(inputs, folder, tokenizer_dir, capsys):
    with pytest.raises(InputError, match="is given twice"):
        find_monolingual(inputs)
    command = ("--input", *inputs, "--tokenizer", tokenizer_dir, "--output_dir", "data", "--processes", 1)
    assert "is given twice" in refused(capsys, build_monolingual.main, *command)


@pytest.mark.parametrize(
    "inputs",
    [
        ["b", "en-de=b/en-de.tsv"],
        ["b/en-de.tsv", "eng-deu=b/en-de.tsv"],
        ["en-de=b/en-de.tsv", "en-fr=b/en-de.tsv"],
        ["b", "en-de=b/en-de.jsonl"],
        ["en-de=b/en-de.jsonl", "de-en=b/en-de.jsonl"],
        ["c", "en-de=c/X.en,c/X.de"],
        ["c", "en-de=c/X"],
        ["en-de=c/X", "de-en=c/X.de,c/X.en"],
        ["en-de=d/X.en,d/X.de", "en-de=d/X.en.gz,d/X.de.gz"],
        ["e", "en-de=e/memory.tmx"],
        ["de-en=e/memory.tmx", "en-de=e/memory.tmx"],
        ["f", "en-de=f/X.zip"],
        ["g", "en-de=g/de.po"],
        ["en-de=h", "en-de=h/sentences.csv"],
    ],
)
def test_pairs(inputs, folder, tokenizer_dir, capsys):
    for find in (find_bitext, read_pair_sets):
        with pytest.raises(InputError, match="is given twice"):
            find(inputs)
    command = ("--input", *inputs, "--tokenizer", tokenizer_dir, "--output_dir", "data", "--processes", 1)
    assert "is given twice" in refused(capsys, build_bitext.main, *command)


@pytest.mark.parametrize(
    "inputs",
    [
        ["en-de=e/memory.tmx", "en-fr=e/memory.tmx", "de-fr=e/memory.tmx"],
        ["en-de=i/wide.jsonl", "en-fr=i/wide.jsonl"],
        ["en-de=c/X.en,c/X.de", "en-fr=c/X.en,b/en-de.tsv"],
        ["en-de=c/X.en,c/X.de", "en-de=d/X.en,d/X.de"],
    ],
)
def test_other_texts_of_one_file_are_taken(inputs, folder):
    assert len(find_bitext(inputs)) == len(inputs)


def test_languages_of_one_export(folder):
    assert len(find_monolingual(["en=h/sentences.csv", "de=h/sentences.csv"])) == 2


def test_fields_make_one_text_of_a_file_whatever_its_languages(folder):
    with pytest.raises(InputError, match="is given twice"):
        find_bitext(["en-de=i/wide.jsonl", "en-fr=i/wide.jsonl"], ("en", "fr"))


def test_one_field_is_not_both_sides(folder, tokenizer_dir, capsys):
    command = ("--input", "b", "--tokenizer", tokenizer_dir, "--output_dir", "data", "--fields", "x", "x")
    assert "--fields x x: is one field for both sides" in refused(capsys, build_bitext.main, *command)
    with pytest.raises(InputError, match="--fields x x: is one field for both sides"):
        read_pair_sets(["b"], fields=("x", "x"))
