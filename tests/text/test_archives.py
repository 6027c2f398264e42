"""Archives that are not read as they are: the message has the command that unpacks them, and it works."""

import gzip
import io
import pathlib
import re
import subprocess
import tarfile

import pytest

from corpus_files import archive, moses, tsv, write_files
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.errors import InputError
from infoxlm_keras.search.sentences import input_size
from infoxlm_keras.text.cleaning.evaluation_files import evaluation_texts
from infoxlm_keras.text.labelled_texts import read_labelled_texts
from infoxlm_keras.text.readers import find_bitext, find_monolingual
from infoxlm_keras.text.readers.inputs import unpacked_by
from running import refused

PAIRS = [("one", "eins"), ("two", "zwei")]


def tar(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz", ".txz": "w:xz"}


@pytest.mark.parametrize("ending", MODES)
@pytest.mark.parametrize("stem", ["paracrawl v9.en-de", "en-de", "de", "X"])
@pytest.mark.parametrize("form", ["{}", "en-de={}"])
def test_the_command_in_the_message_unpacks_a_tar_archive(ending, stem, form, tmp_path, tokenizer_dir, capsys):
    path = tmp_path / (stem + ending)
    path.write_bytes(tar({"a.en-de.en": moses(PAIRS, 0), "a.en-de.de": moses(PAIRS, 1)}, MODES[ending]))
    output = ("--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
    message = refused(capsys, build_bitext.main, "--input", form.format(path), *output)
    (command,) = re.findall("`(.*)`", message)
    (tmp_path / "out").mkdir()
    subprocess.run(command, shell=True, cwd=tmp_path / "out", check=True)
    (reader,) = find_bitext([tmp_path / "out"])
    assert [pair for chunk in reader.chunks() for pair in reader.read(chunk)] == PAIRS


@pytest.mark.parametrize(
    ("name", "command"),
    [
        *((f"X{ending}", "tar -xf") for ending in [*MODES, ".tbz", ".tbz2", ".tzst", ".tar.zst", ".TAR.GZ", ".tar.Z"]),
        *(("a.zip", "unzip"), ("a.ZIP", "unzip"), ("a.7z", "7z x"), ("a.rar", "unrar x")),
        *((name, None) for name in ("tar", "en-de.tsv", "a.tar.txt.gz", "x.start", "de.txt.gz", "zip", "a.gz")),
    ],
)
def test_archives_are_known_by_their_names(name, command):
    assert unpacked_by(name) == unpacked_by(pathlib.Path("folder.tar") / name) == command


@pytest.mark.parametrize("name", ["x.tar.gz", "de.tar", "x.tgz", "X.en-de.rar", "de.7z"])
def test_archives_in_folders_are_passed_over_with_the_command(name, tmp_path):
    write_files(tmp_path / "pairs", {"en-de.tsv": tsv(PAIRS), "x.en": b"a\n", name: b"\0"})
    found = find_bitext([tmp_path / "pairs"])
    assert [reader.name for reader in found] == ["en-de"]
    reasons = {item.name: item.reason for item in found.passed_over}
    assert reasons[name] == f"an archive: unpack it with `{unpacked_by(name)} FILE`"
    write_files(tmp_path / "text", {"de.txt": b"a\n", name: b"\0", "fr.zip": b"\0"})
    found = find_monolingual([tmp_path / "text"])
    assert {item.name: item.reason for item in found.passed_over} == {
        name: reasons[name],
        "fr.zip": "an archive: unpack it with `unzip FILE`",
    }
    # Nothing else is there.
    write_files(tmp_path / "alone", {name: b"\0"})
    for find in (find_bitext, find_monolingual):
        with pytest.raises(InputError, match=f"it holds only {name}; an archive: unpack it with `{unpacked_by(name)}"):
            find([tmp_path / "alone"])


def test_every_other_place_that_reads_files_says_the_same(tmp_path, tokenizer_dir, capsys):
    content = archive({"de.txt": b"a\n"})
    for name in ("de.zip", "xnli.de.tar.gz"):
        (tmp_path / name).write_bytes(content)
        message = rf"{name}: is an archive, .* unpack it with `{unpacked_by(name)} .*{name}`"
        for item in (tmp_path / name, f"de={tmp_path / name}"):
            arguments = ("--input", item, "--tokenizer", tokenizer_dir, "--output_dir", tmp_path / "data")
            assert re.search(message, refused(capsys, build_monolingual.main, *arguments))
        for read in (lambda path: read_labelled_texts([path]), input_size):
            with pytest.raises(InputError, match=message):
                read(tmp_path / name)
    with pytest.raises(InputError, match=r"xnli.de.tar.gz: is an archive"):
        list(evaluation_texts(tmp_path / "xnli.de.tar.gz"))


@pytest.mark.parametrize("name", ["en-de.tsv", "en-de.tsv.gz"])
def test_an_archive_under_another_name_is_known_by_its_content(name, tmp_path):
    content = tar({"en-de.tsv": tsv(PAIRS)})
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    (reader,) = find_bitext([tmp_path / name])
    with pytest.raises(InputError, match="it is a tar archive: unpack it with `tar -xf`"):
        [reader.read(chunk) for chunk in reader.chunks()]
