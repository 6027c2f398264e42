"""What `build_bitext.py` refuses: one message with file and remedy, exit code 2, nothing left behind."""

import gzip
import os
import pathlib

import pytest

from infoxlm_keras.commands import build_bitext
from infoxlm_keras.text.readers import chunks
from running import refused

GOOD = b"the house\tdas Haus\nthe river\tder Fluss\n"
# name: ({file name: content}, parts of the message)
BAD_FILES = {
    "one column": ({"en-de.tsv": GOOD + b"the bridge\n"}, ("en-de.tsv: line 3: has 1 column", "others have two")),
    "three columns": ({"en-de.tsv": b"a\tb\tc\n" + GOOD}, ("en-de.tsv: line 1: has 3 column", "others have two")),
    "broken UTF-8": ({"en-de.tsv": GOOD + b"caf\xe9\tb\n"}, ("en-de.tsv: line 3", "not UTF-8")),
    "NUL": ({"en-de.tsv": GOOD + b"a\0\tb\n"}, ("en-de.tsv: line 3", "NUL")),
    "truncated gz": ({"en-de.tsv.gz": gzip.compress(GOOD)[:-9]}, ("en-de.tsv.gz", "ends too early")),
    "empty file": ({"en-de.tsv": b""}, ("en-de.tsv: is empty",)),
    "blank lines only": ({"en-de.tsv": b"\n\n"}, ("en-de.tsv: nothing is left", "2 empty")),
    "all dropped": ({"en-de.tsv": b"a\ta\n\tb\n"}, ("en-de.tsv: nothing is left", "1 empty", "1 identical")),
    "fewer targets": (
        {"x.en-de.en": b"a\nb\nc\nd\n", "x.en-de.de": b"A\nB\n"},
        ("x.en-de.en: has 4 lines", "x.en-de.de has 2", "fetch both"),
    ),
    "fewer sources": (
        {"x.en-de.en": b"a\n", "x.en-de.de": b"A\nB\nC"},
        ("x.en-de.en: has 1 lines", "x.en-de.de has 3"),
    ),
    "empty source": ({"x.en-de.en": b"", "x.en-de.de": b"A\nB\n"}, ("x.en-de.en: has 0 lines", "x.en-de.de has 2")),
    "both sides empty": ({"x.en-de.en": b"", "x.en-de.de": b""}, ("x.en-de.en: is empty",)),
    "broken target": ({"x.en-de.en": b"a\nb\n", "x.en-de.de": b"A\n\xff\n"}, ("x.en-de.de: line 2", "not UTF-8")),
    "truncated target": (
        {"x.en-de.en.gz": gzip.compress(GOOD), "x.en-de.de.gz": gzip.compress(GOOD)[:-9]},
        ("x.en-de.de.gz: the compressed data ends too early",),
    ),
    "no other side": ({"x.en-de.en": GOOD}, ("x.en-de.en: its other side", "x.en-de.de is not among the inputs")),
    "one language": ({"de.tsv": GOOD}, ("de.tsv: is not named <src>-<tgt>.tsv",)),
    "same language": ({"de-de.tsv": GOOD}, ("de-de.tsv: names de on both sides",)),
    "side of another pair": ({"x.en-de.fr": GOOD}, ("x.en-de.fr: is not named",)),
    "no pairs": ({"de.txt": GOOD}, ("holds no file named <src>-<tgt>.tsv",)),
    "two compressions": ({"en-de.tsv": GOOD, "en-de.tsv.gz": gzip.compress(GOOD)}, ("en-de.tsv.gz: is given twice",)),
}


@pytest.mark.parametrize(
    ("name", "processes"), [*((name, 1) for name in BAD_FILES), ("three columns", 2), ("fewer targets", 2)]
)
def test_bad_files_are_refused(name, processes, tmp_path, tokenizer_dir, capsys):
    files, parts = BAD_FILES[name]
    (tmp_path / "pairs").mkdir()
    for file, content in files.items():
        (tmp_path / "pairs" / file).write_bytes(content)
    arguments = ("--input", tmp_path / "pairs", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, build_bitext.main, *arguments, "--processes", processes)
    for part in (str(tmp_path / "pairs"), *parts):
        assert part in message
    assert os.listdir(tmp_path) == ["pairs"]


def test_a_named_file_of_another_name_is_refused(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "pairs.csv").write_bytes(GOOD)
    arguments = ("--input", tmp_path / "pairs.csv", "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "pairs.csv: is not named <src>-<tgt>.tsv" in refused(capsys, build_bitext.main, *arguments)


def test_line_numbers_count_from_the_start_of_the_file(tmp_path, tokenizer_dir, capsys, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    (tmp_path / "en-de.tsv").write_bytes(GOOD * 15 + b"no tab\n")
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "line 31: has 1 column" in refused(capsys, build_bitext.main, *arguments, "--processes", 1)


def test_moses_line_numbers_and_counts_run_across_chunks(tmp_path, tokenizer_dir, capsys, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    (tmp_path / "x.en-de.en").write_bytes(b"the house\n" * 50)
    (tmp_path / "x.en-de.de").write_bytes(b"das Haus\n" * 40 + b"\xff\n" + b"das Haus\n" * 9)
    arguments = (
        "--input",
        tmp_path,
        "--tokenizer",
        tokenizer_dir,
        "--output_dir",
        tmp_path / "data",
        "--processes",
        1,
    )
    assert "x.en-de.de: line 41: is not UTF-8" in refused(capsys, build_bitext.main, *arguments)
    (tmp_path / "x.en-de.de").write_bytes(b"das Haus\n" * 40)
    message = refused(capsys, build_bitext.main, *arguments)
    assert "x.en-de.en: has 50 lines" in message and "x.en-de.de has 40;" in message
    (tmp_path / "x.en-de.de").write_bytes(b"das Haus\n" * 60)
    message = refused(capsys, build_bitext.main, *arguments)
    assert "x.en-de.en: has 50 lines" in message and "x.en-de.de has 60;" in message


def bad_arguments(tmp_path):
    """name: (arguments that replace good ones, parts of the message)."""
    return {
        "missing file": ({"input": [tmp_path / "en-fr.tsv"]}, ("en-fr.tsv: no such file",)),
        "bounds not ascending": ({"lengths": [32, 16]}, ("--lengths 32 16", "ascending")),
        "equal bounds": ({"lengths": [16, 16]}, ("--lengths 16 16", "ascending")),
        "bound of nothing": ({"lengths": [0, 16]}, ("--lengths 0 16", "positive")),
        "longer than any bucket": ({"max_length": [300]}, ("--max_length 300", "254")),
        "no length": ({"max_length": [0]}, ("--max_length 0", "at least 1")),
        "ratio below one": ({"max_length_ratio": [0.5]}, ("--max_length_ratio 0.5", "at least 1")),
    }


@pytest.mark.parametrize("name", bad_arguments(pathlib.Path()))
def test_bad_arguments_are_refused(name, tmp_path, tokenizer_dir, capsys):
    (tmp_path / "en-de.tsv").write_bytes(GOOD)
    changed, parts = bad_arguments(tmp_path)[name]
    settings = {"input": [tmp_path], "tokenizer": [tokenizer_dir], "output_dir": [tmp_path / "data"], **changed}
    flags = [item for key, values in settings.items() for item in (f"--{key}", *values)]
    message = refused(capsys, build_bitext.main, *flags)
    for part in parts:
        assert part in message
    assert os.listdir(tmp_path) == ["en-de.tsv"]
