"""Builds that are killed and continued, also with other arguments, or run twice at a time: same bytes or a message."""

import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import killed_build
from infoxlm_keras.building import journal as build_journal
from infoxlm_keras.building import spills
from infoxlm_keras.commands import build_bitext, build_monolingual
from infoxlm_keras.records.manifest import read_manifest
from infoxlm_keras.text.readers import chunks
from repository import REPOSITORY, SUPPORT
from running import refused, run, tree
from sample_text import sentences


@pytest.fixture
def inputs(tmp_path, tokenizer_dir):
    """dict of builder to its arguments but --output_dir; both texts hold repeats far apart."""
    (tmp_path / "text").mkdir()
    for language, count in (("de", 150), ("ru", 60)):
        lines = sentences(language, count)
        lines = lines[:20] + [""] + lines[20:] + lines[5:15]
        (tmp_path / f"text/{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    pairs = list(zip(sentences("en", 120), sentences("de", 120, start=3), strict=True))
    for name, chosen in (("a.tsv", pairs[:90] + pairs[3:9]), ("b.tsv", pairs[70:])):
        (tmp_path / name[0]).mkdir()
        text = "".join(f"{source}\t{target}\n" for source, target in chosen)
        (tmp_path / name[0] / "en-de.tsv").write_text(text, encoding="utf-8")
    common = ["--tokenizer", str(tokenizer_dir), "--shard_megabytes", "0.001"]
    monolingual = ["--input", str(tmp_path / "text"), "--sequence_length", "32", "--deduplicate"]
    bitext = ["--input", str(tmp_path / "a"), str(tmp_path / "b"), "--lengths", "8", "16", "32", "--max_length", "32"]
    return {"monolingual": monolingual + common, "bitext": bitext + common}


@pytest.fixture
def tiny(monkeypatch):
    """Chunks and runs as small as those of `killed_build`."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", killed_build.CHUNK_BYTES)
    monkeypatch.setattr(spills, "RUN_BYTES", killed_build.RUN_BYTES)


def start(builder, count, moment, arguments, output, processes):
    command = [sys.executable, SUPPORT / "killed_build.py", builder, str(count), moment, *arguments]
    command += ["--output_dir", str(output), "--processes", str(processes)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{SUPPORT}"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("builder", "kind"), [("monolingual", "mmlm"), ("bitext", "bitext")])
def test_killed_again_and_again_it_writes_the_same_bytes(builder, kind, inputs, tmp_path, tiny):
    main = {"monolingual": build_monolingual, "bitext": build_bitext}[builder].main
    run(main, *inputs[builder], "--output_dir", tmp_path / "whole", "--processes", 1)
    whole = tree(tmp_path / "whole")
    assert sum(path.endswith(".tfrecord") for path in whole) > 4
    output, kills, resumed = tmp_path / "killed", 0, []
    # Every few pieces of work, on one process or two, before or after a piece is noted as done.
    for count, moment, processes in [
        (1, "before", 1),
        (2, "after", 2),
        (5, "before", 1),
        (6, "after", 1),
        (3, "before", 2),
    ]:
        process = start(builder, count, moment, inputs[builder], output, processes)
        printed = process.communicate()[0]
        assert process.returncode == -signal.SIGKILL, printed
        kills += 1
        assert sorted(os.listdir(output)) == [f".{kind}.work"]
        resumed.append("resuming an unfinished build" in printed)
    assert kills == 5 and resumed[0] is False and all(resumed[2:])
    process = start(builder, 0, "after", inputs[builder], output, 2)
    printed = process.communicate()[0]
    assert process.returncode == 0 and "resuming an unfinished build" in printed, printed
    assert tree(output) == whole


def test_a_kill_at_any_moment_leaves_no_workers_behind(inputs, tmp_path, tiny):
    process = start("bitext", 0, "after", inputs["bitext"], tmp_path / "killed", 2)
    children = []
    while process.poll() is None and not children:
        time.sleep(0.02)
        listed = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        # The first child may be the resource tracker: wait for the workers.
        children = listed if len(listed) > 1 else []
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(pathlib.Path(f"/proc/{child}/cmdline").exists() for child in children):
        time.sleep(0.05)
    assert children and not [child for child in children if pathlib.Path(f"/proc/{child}/cmdline").exists()]
    run(build_bitext.main, *inputs["bitext"], "--output_dir", tmp_path / "whole", "--processes", 1)
    run(build_bitext.main, *inputs["bitext"], "--output_dir", tmp_path / "killed", "--processes", 1)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")


class InterruptedAfter:
    """Replaces `BuildJournal.note`: raises KeyboardInterrupt once some pieces of work are noted."""

    def __init__(self, count):
        self.left = count
        self.note = build_journal.BuildJournal.note

    def __call__(self, journal, *key, value):
        self.note(journal, *key, value=value)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupt(main, arguments, count, monkeypatch):
    with monkeypatch.context() as patch:
        stop = InterruptedAfter(count)
        patch.setattr(build_journal.BuildJournal, "note", lambda *all, **value: stop(*all, **value))
        with pytest.raises(KeyboardInterrupt):
            main([str(argument) for argument in arguments])


CHANGES = {
    "nothing": ((), "resuming an unfinished build: 3 steps are done"),
    "an argument": (("--sequence_length", 24), "an unfinished build differs in sequence_length: starting over"),
    "the seed": (("--seed", 4), "differs in seed: starting over"),
    "the input": (None, "differs in input: starting over"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_interrupted_build_goes_on_or_starts_over(change, inputs, tmp_path, tiny, monkeypatch, capsys):
    flags, message = CHANGES[change]
    arguments = [*inputs["monolingual"], "--processes", 1]
    interrupt(build_monolingual.main, [*arguments, "--output_dir", tmp_path / "data"], 3, monkeypatch)
    assert "run the same command again" in capsys.readouterr().err
    assert os.listdir(tmp_path / "data") == [".mmlm.work"]
    if flags is None:
        with open(tmp_path / "text/de.txt", "a", encoding="utf-8") as file:
            file.write("eine neue Tür\n")
    for name in ("data", "whole"):
        run(build_monolingual.main, *arguments, *(flags or ()), "--output_dir", tmp_path / name)
        assert (message in capsys.readouterr().out) == (name == "data")
    assert tree(tmp_path / "data") == tree(tmp_path / "whole")


def test_a_touched_input_is_the_same_input(inputs, tmp_path, tiny, monkeypatch, capsys):
    arguments = [*inputs["monolingual"], "--processes", 1, "--output_dir", tmp_path / "data"]
    interrupt(build_monolingual.main, arguments, 3, monkeypatch)
    os.utime(tmp_path / "text/de.txt")
    run(build_monolingual.main, *arguments)
    assert "resuming an unfinished build" in capsys.readouterr().out


def test_an_input_that_changes_while_it_is_read_is_noticed(inputs, tmp_path, monkeypatch, capsys):
    note = build_journal.BuildJournal.note

    def note_and_append(journal, *key, value):
        note(journal, *key, value=value)
        with open(tmp_path / "text/ru.txt", "a", encoding="utf-8") as file:
            file.write("дом\n")

    monkeypatch.setattr(build_journal.BuildJournal, "note", note_and_append)
    arguments = [*inputs["monolingual"], "--processes", 1, "--output_dir", tmp_path / "data"]
    assert "ru.txt: was changed while it was read" in refused(capsys, build_monolingual.main, *arguments)
    assert not (tmp_path / "data").exists()


def test_the_old_records_stay_until_an_interrupted_replacement_is_complete(inputs, tmp_path, tiny, monkeypatch):
    arguments = [*inputs["monolingual"], "--processes", 1, "--output_dir", tmp_path / "data", "--overwrite"]
    run(build_monolingual.main, *arguments)
    before = tree(tmp_path / "data/mmlm")
    interrupt(build_monolingual.main, [*arguments, "--seed", 9], 4, monkeypatch)
    assert tree(tmp_path / "data/mmlm") == before
    run(build_monolingual.main, *arguments, "--seed", 9)
    assert read_manifest(tmp_path / "data", "mmlm").seed == 9
    assert os.listdir(tmp_path / "data") == ["mmlm"]


def test_two_builds_do_not_write_one_output(inputs, tmp_path, capsys):
    work = tmp_path / "data/.mmlm.work"
    work.mkdir(parents=True)
    with open(work / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        message = refused(capsys, build_monolingual.main, *inputs["monolingual"], "--output_dir", tmp_path / "data")
    assert "another build is writing it" in message
    assert work.is_dir()
