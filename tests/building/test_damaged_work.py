"""Work files of an unfinished build that were damaged: named and rebuilt, and the output has the same bytes."""

import pathlib
import re
import shutil

import pytest

import stress_build
from infoxlm_keras.building import journal as build_journal
from infoxlm_keras.building import spills
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.text.readers import chunks
from running import run, tree


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    stress_build.make_inputs(directory)
    return directory


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", stress_build.CHUNK_BYTES)
    monkeypatch.setattr(spills, "RUN_BYTES", stress_build.RUN_BYTES)


class Stopped(BaseException):
    """As sudden as a kill, in this process."""


def build(kind, inputs, output, stop_after=None):
    """Runs a builder; with `stop_after` it ends once this number of pieces of work is noted."""
    main, settings = stress_build.BUILDERS[kind]
    arguments = [*stress_build.builder_arguments(kind, inputs, output, 1), *settings]
    if stop_after is None:
        run(main, *arguments)
        return
    note, left = build_journal.BuildJournal.note, [stop_after]

    def note_and_stop(journal, *key, value):
        note(journal, *key, value=value)
        left[0] -= 1
        if left[0] == 0:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_journal.BuildJournal, "note", note_and_stop)
        with pytest.raises(Stopped):
            main(arguments)


def flipped(data):
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "flipped": flipped,
    "cut": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
    "removed": None,
}


@pytest.mark.parametrize("kind", stress_build.BUILDERS)
def test_every_file_that_a_resumed_build_reads_back_is_checked(kind, inputs, tmp_path, capsys):
    build(kind, inputs, tmp_path / "whole")
    whole = tree(tmp_path / "whole")
    # Unfinished, but for one shard.
    build(kind, inputs, tmp_path / "unfinished", stop_after=_pieces(kind, inputs, tmp_path) - 1)
    work = tmp_path / f"unfinished/.{kind}.work"
    names = sorted(
        str(path.relative_to(work))
        for path in work.rglob("*")
        if path.is_file() and path.suffix not in (".stays", ".waits") and path.name not in ("lock", "inputs.json")
    )
    assert any(name.endswith(".tfrecord") for name in names) and any("verdict" in name for name in names)
    assert {pathlib.Path(name).suffix for name in names} == {".npy", ".records", ".tfrecord", ".jsonl"}
    # Some of each kind of file.
    groups = {}
    for name in names:
        groups.setdefault(re.sub(r"[0-9]+", "", name), []).append(name)
    names = [name for group in groups.values() for name in sorted({group[0], group[-1]})]
    for number, name in enumerate(names):
        damage = list(DAMAGES)[number % len(DAMAGES)]
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        shutil.copytree(tmp_path / "unfinished", tmp_path / "data")
        path = tmp_path / f"data/.{kind}.work/{name}"
        if DAMAGES[damage]:
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        else:
            path.unlink()
        capsys.readouterr()
        build(kind, inputs, tmp_path / "data")
        printed = capsys.readouterr().out
        assert f"{path}" in printed.replace("\n", "") and "is damaged; the build repeats this work" in printed, damage
        assert tree(tmp_path / "data") == whole, (name, damage)


def _pieces(kind, inputs, tmp_path):
    """int: pieces of work that a build notes."""
    note, count = build_journal.BuildJournal.note, [0]

    def counted(journal, *key, value):
        count[0] += 1
        note(journal, *key, value=value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_journal.BuildJournal, "note", counted)
        build(kind, inputs, tmp_path / "counted")
    return count[0]


JOURNALS = {
    "no JSON": lambda lines: [b"{", *lines[1:]],
    "another value": lambda lines: [b"[1, 2]\n", *lines[1:]],
    "nested": lambda lines: [b"[" * 100_000 + b"\n", *lines[1:]],
    "bytes that are no text": lambda lines: [b"\xff\xfe\0" * 50 + b"\n", *lines[1:]],
    "empty": lambda lines: [],
    "the journal of an earlier version": lambda lines: [line.split(b" ", 1)[1] for line in lines],
    "a huge number": lambda lines: [*lines[:1], b'0123456789abcdef [["records","run",0],1e999]\n'],
    "lines in another order": lambda lines: [lines[0], *lines[:0:-1]],
    "a line left out": lambda lines: [lines[0], *lines[2:]],
    "a line twice": lambda lines: [lines[0], lines[1], lines[1], *lines[2:]],
    "zeros at the end": lambda lines: [*lines[:3], bytes(4096)],
    "the last line cut": lambda lines: [*lines[:-1], lines[-1][:-9]],
}


@pytest.mark.parametrize("name", JOURNALS)
def test_a_journal_that_cannot_be_read_costs_work_and_nothing_else(name, inputs, tmp_path, capsys):
    build("mmlm", inputs, tmp_path / "whole")
    build("mmlm", inputs, tmp_path / "data", stop_after=12)
    path = tmp_path / "data/.mmlm.work/journal.jsonl"
    path.write_bytes(b"".join(JOURNALS[name](path.read_bytes().splitlines(keepends=True))))
    capsys.readouterr()
    build("mmlm", inputs, tmp_path / "data")
    printed = capsys.readouterr().out
    assert f"{path}" in printed.replace("\n", "") and "is damaged; the build repeats this work" in printed
    assert ("starting over" in printed) != ("resuming an unfinished build" in printed)
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


@pytest.mark.parametrize("name", ["journal.jsonl", "lock", "inputs.json", "records/000000.exact.keys.npy"])
def test_a_folder_in_a_files_place_is_replaced(name, inputs, tmp_path):
    build("bitext", inputs, tmp_path / "whole")
    build("bitext", inputs, tmp_path / "data", stop_after=5)
    path = tmp_path / "data/.bitext.work" / name
    path.unlink()
    (path / "inner").mkdir(parents=True)
    build("bitext", inputs, tmp_path / "data")
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_checksums_of_inputs_that_were_damaged_are_computed_again(inputs, tmp_path):
    build("mmlm", inputs, tmp_path / "whole")
    build("mmlm", inputs, tmp_path / "data", stop_after=5)
    path = tmp_path / "data/.mmlm.work/inputs.json"
    text = path.read_text()
    digest = text[text.rindex('"', 0, -5) - 64 : text.rindex('"', 0, -5)]
    path.write_text(text.replace(digest, digest[::-1]))
    build("mmlm", inputs, tmp_path / "data")
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_what_else_lies_in_the_output_is_not_taken_along(inputs, tmp_path):
    build("mmlm", inputs, tmp_path / "whole")
    build("mmlm", inputs, tmp_path / "data", stop_after=5)
    (tmp_path / "data/.mmlm.work/output/de").mkdir(exist_ok=True)
    (tmp_path / "data/.mmlm.work/output/de/de-00000-of-00099.tfrecord").write_bytes(b"left from something else")
    build("mmlm", inputs, tmp_path / "data")
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_killed_and_damaged_at_random_it_ends_the_same(tmp_path):
    lines = []
    kills, damaged = stress_build.stress(2, 5, seed=11, directory=tmp_path, log=lines.append, least_kills=2)
    assert kills >= 4 and damaged == len(lines)


def test_small_files_share_runs_and_the_disk_is_waited_for_a_few_times_only(tokenizer_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(spills, "RUN_BYTES", 1 << 20)
    calls = []
    monkeypatch.setattr("os.fsync", calls.append)
    counts = {}
    for count in (10, 80):
        files = []
        for number in range(count):
            files.append(tmp_path / f"{count}-{number}.txt")
            files[-1].write_text(f"Zeile {number}\n")
        calls.clear()
        arguments = ["--input", *(f"de={file}" for file in files), "--tokenizer", tokenizer_dir, "--processes", 1]
        run(build_monolingual.main, *arguments, "--output_dir", tmp_path / f"data-{count}")
        counts[count] = len(calls)
    assert counts[10] == counts[80] <= 5


def test_a_link_as_output_is_followed(inputs, tmp_path):
    build("bitext", inputs, tmp_path / "whole")
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").mkdir()
    # One to a folder that is there, one to a folder that is not yet.
    (tmp_path / "data/bitext").symlink_to(tmp_path / "disk/records")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    build("bitext", inputs, tmp_path / "link")
    whole = tree(tmp_path / "whole/bitext")
    assert (tmp_path / "data/bitext").is_symlink() and tree(tmp_path / "disk/records") == whole
    main, settings = stress_build.BUILDERS["bitext"]
    again = [*stress_build.builder_arguments("bitext", inputs, tmp_path / "link", 1), *settings, "--overwrite"]
    run(main, *again)
    assert (tmp_path / "data/bitext").is_symlink() and tree(tmp_path / "disk/records") == whole
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["records"]


@pytest.mark.parametrize("folder", ["a [1] b", "caf\udce9", "new\nline"])
def test_odd_names_of_folders_work(folder, tokenizer_dir, tmp_path):
    root = tmp_path / folder
    (root / "in").mkdir(parents=True)
    (root / "in/en-de.tsv").write_text("a house\tein Haus\nthe bird\tder Vogel\n")
    shutil.copytree(tokenizer_dir, root / "tokenizer")
    arguments = ["--input", root / "in", "--tokenizer", root / "tokenizer", "--processes", 1]
    run(build_bitext.main, *arguments, "--output_dir", root / "data")
    arguments = ["--input", f"en-de={root / 'in/en-de.tsv'}", "--tokenizer", tokenizer_dir, "--processes", 1]
    run(build_bitext.main, *arguments, "--output_dir", tmp_path / "data")
    assert tree(root / "data") == tree(tmp_path / "data")
