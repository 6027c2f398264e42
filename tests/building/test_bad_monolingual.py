"""What `build_monolingual.py` refuses: one message with file and remedy, exit code 2, nothing left behind."""

import errno
import gzip
import lzma
import os
import pathlib

import pytest

from infoxlm_keras.commands import build_monolingual
from infoxlm_keras.files import written_files
from infoxlm_keras.text.readers import chunks
from running import refused

GOOD = b"das Haus am Fluss\n"
# name: (file name, content, what the message must say besides the file's name)
BAD_FILES = {
    "broken UTF-8": ("de.txt", GOOD * 3 + b"caf\xe9\n", ("line 4", "not UTF-8", "iconv")),
    "UTF-8 cut at the end": ("de.txt", GOOD + "ü".encode()[:1], ("line 2", "not UTF-8")),
    "encoded surrogate": ("de.txt", GOOD + b"\xed\xa0\x80\n", ("line 2", "not UTF-8")),
    "UTF-16": ("de.txt", "das Haus".encode("utf-16"), ("line 1", "UTF-16", "iconv -f UTF-16")),
    "gzip without .gz": ("de.txt", gzip.compress(GOOD * 9), ("line 1", "ending .gz")),
    "xz without .xz": ("de.txt", lzma.compress(GOOD * 9), ("ending .xz",)),
    "NUL": ("de.txt", GOOD + b"a\0b\n", ("line 2", "NUL")),
    "truncated gz": ("de.txt.gz", gzip.compress(os.urandom(9000))[:-200], ("ends too early", "fetch it again")),
    "truncated xz": ("de.txt.xz", lzma.compress(os.urandom(9000))[:-200], ("ends too early", "fetch it again")),
    "damaged gz": ("de.txt.gz", gzip.compress(GOOD)[:-8] + b"\1" * 8, ("damaged", "fetch it again")),
    "damaged xz": ("de.txt.xz", b"\xfd7zXZ\0\1\1" + b"\1" * 90, ("damaged", "fetch it again")),
    "plain text named gz": ("de.txt.gz", GOOD, ("it is text that is not compressed",)),
    "empty file": ("de.txt", b"", ("is empty", "remove it")),
    "empty gz": ("de.txt.gz", gzip.compress(b""), ("is empty",)),
    "blank lines only": ("de.txt", b"\n \n\xe3\x80\x80\n\n", ("holds no text", "remove it")),
    "byte order mark only": ("de.txt", b"\xef\xbb\xbf", ("holds no text",)),
    "control characters only": ("de.txt", b"\x07\n\x08\n", ("nothing is left", "2 empty")),
    "no language": ("german.txt", GOOD, ("not named <lang>.txt", "rename")),
    "upper case": ("README.txt", GOOD, ("not named <lang>.txt",)),
    "other ending": ("de.text", GOOD, ("not named <lang>.txt",)),
    "pairs": ("en-de.tsv", GOOD, ("not named <lang>.txt",)),
}


@pytest.mark.parametrize(
    ("name", "processes"), [*((name, 1) for name in BAD_FILES), ("broken UTF-8", 2), ("truncated xz", 2)]
)
def test_bad_files_are_refused(name, processes, tmp_path, tokenizer_dir, capsys):
    file, content, parts = BAD_FILES[name]
    path = tmp_path / file
    path.write_bytes(content)
    arguments = ("--input", path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "deep/data")
    message = refused(capsys, build_monolingual.main, *arguments, "--processes", processes)
    for part in (str(path), *parts):
        assert part in message
    assert sorted(os.listdir(tmp_path)) == [file]


def bad_arguments(tmp_path):
    """name: (arguments that replace good ones, parts of the message)."""
    return {
        "missing file": ({"input": tmp_path / "fr.txt"}, ("fr.txt: no such file",)),
        "missing directory": ({"input": tmp_path / "nowhere"}, ("nowhere: no such file or directory",)),
        "empty directory": ({"input": tmp_path / "empty"}, ("empty: holds no file named <lang>.txt",)),
        "missing tokenizer": ({"tokenizer": tmp_path / "nowhere"}, ("nowhere: no such file or directory",)),
        "no tokenizer": ({"tokenizer": tmp_path / "empty"}, ("empty: holds no tokenizer",)),
        "broken tokenizer": ({"tokenizer": tmp_path / "de.txt"}, ("de.txt: is not a SentencePiece model",)),
        "output is a file": ({"output_dir": tmp_path / "de.txt"}, ("de.txt",)),
        "block too short": ({"sequence_length": 2}, ("--sequence_length 2", "at least 3")),
        "no processes": ({"processes": 0}, ("--processes 0", "at least 1")),
        "no shard size": ({"shard_megabytes": 0}, ("--shard_megabytes 0", "above 0")),
    }


@pytest.mark.parametrize("name", bad_arguments(pathlib.Path()))
def test_bad_arguments_are_refused(name, tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.txt").write_bytes(GOOD)
    (tmp_path / "empty").mkdir()
    changed, parts = bad_arguments(tmp_path)[name]
    settings = {"input": tmp_path / "de.txt", "tokenizer": tokenizer_dir, "output_dir": tmp_path / "data", **changed}
    flags = [item for key, value in settings.items() for item in (f"--{key}", value)]
    message = refused(capsys, build_monolingual.main, *flags)
    for part in parts:
        assert part in message
    assert sorted(os.listdir(tmp_path)) == ["de.txt", "empty"]


def test_the_same_text_twice_is_refused(tmp_path, tokenizer_dir, capsys):
    (tmp_path / "de.txt").write_bytes(GOOD)
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "given twice" in refused(capsys, build_monolingual.main, "--input", tmp_path, tmp_path / "de.txt", *output)
    (tmp_path / "de.txt.gz").write_bytes(gzip.compress(GOOD))
    assert "given twice" in refused(capsys, build_monolingual.main, "--input", tmp_path, *output)


def test_a_full_disk_leaves_nothing(tokenizer_dir, tmp_path, capsys, monkeypatch):
    for language in ("de", "ru"):
        (tmp_path / f"{language}.txt").write_bytes(GOOD)

    def full(path, mode):
        if "/ru-" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return open(path, mode)

    monkeypatch.setattr(written_files, "open", full, raising=False)
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, build_monolingual.main, *arguments, "--processes", 1)
    assert "no space left on device" in message and "another output folder" in message
    assert sorted(os.listdir(tmp_path)) == ["de.txt", "ru.txt"]


def test_an_unreadable_file_is_refused(tokenizer_dir, tmp_path, capsys, monkeypatch):
    (tmp_path / "de.txt").write_bytes(GOOD)

    def denied(path, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    # Tests may run as root, whom no permission stops.
    monkeypatch.setattr(chunks, "open_regular", denied)
    arguments = ("--input", tmp_path, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    assert "de.txt: permission denied" in refused(capsys, build_monolingual.main, *arguments)
    assert os.listdir(tmp_path) == ["de.txt"]
