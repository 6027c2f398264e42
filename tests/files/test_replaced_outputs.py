"""What --overwrite may remove; what SIGTERM and Ctrl-C leave."""

import os
import shutil
import signal

import pytest

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import (
    convert_checkpoint,
    drop_layers,
    export_onnx,
    extend_vocabulary,
    search,
    trim_vocabulary,
)
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FOLDER, Contents, check_output, new_directory, staging
from running import refused, tree

INDEX = Contents(("index.json",), ("index.json", "*.bin"))


def test_only_what_holds_the_named_file_is_replaced(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("of years")
    with pytest.raises(InputError, match=r"out: holds other files \(thesis.txt\) and no index.json, so it is not"):
        with new_directory(out, replace=True, contents=INDEX):
            raise AssertionError("is not reached")
    (out / "index.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"out: holds thesis.txt, which would be deleted and which no command of this"
    ):
        with new_directory(out, replace=True, contents=INDEX):
            raise AssertionError("is not reached")
    assert tree(tmp_path) == {"out/thesis.txt": b"of years", "out/index.json": b"{}"}
    (out / "thesis.txt").rename(tmp_path / "thesis.txt")
    (out / ".DS_Store").write_bytes(b"")
    (out / "lines.bin").write_bytes(b"1")
    with new_directory(out, replace=True, contents=INDEX) as directory:
        (directory / "index.json").write_text("new")
    assert tree(tmp_path) == {"out/index.json": b"new", "thesis.txt": b"of years"}


@pytest.mark.parametrize("strange", ["scores.json", "assets/logo.png", "2_old/notes", "onnx/mine.txt", "1_notes.txt"])
def test_files_of_others_are_found_at_any_depth(tmp_path, strange):
    out = tmp_path / "out"
    for name in ("config.json", "1_Pooling/config.json", "assets/tokenizer/vocabulary.spm", ".cache/huggingface/x"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("{}")
    with new_directory(out, replace=True, contents=MODEL_FOLDER) as directory:
        (directory / "config.json").write_text("new")
    (out / strange).parent.mkdir(exist_ok=True)
    (out / strange).write_text("mine")
    with pytest.raises(InputError, match=f"out: holds {strange}, which would be deleted"):
        check_output(out, replace=True, contents=MODEL_FOLDER)
    assert tree(out) == {"config.json": b"new", strange: b"mine"}


def test_what_is_added_meanwhile_is_not_deleted(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.json").write_text("old")
    with pytest.raises(InputError, match="out: was filled by something else while this was written"):
        with new_directory(out, replace=True, contents=INDEX) as directory:
            (directory / "index.json").write_text("new")
            (out / "thesis.txt").write_text("of years")
    assert tree(tmp_path) == {"out/index.json": b"old", "out/thesis.txt": b"of years"}


def test_in_a_store_addresses_are_compared(tmp_path, monkeypatch):
    """A command works in local stand-ins, which are two folders for one address."""
    stands_for = {str(tmp_path / "in" / "m"): "s3://b/m", str(tmp_path / "out" / "m"): "s3://b/m"}
    monkeypatch.setattr(staging, "_stands_for", stands_for)
    for name in ("in/m", "out/m"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    for source in (tmp_path / "in" / "m", "s3://b/m", "s3://b/m/", "s3://b/m/onnx"):
        with pytest.raises(InputError, match="would be replaced, but .* is read from it"):
            check_output(tmp_path / "out" / "m", replace=True, inputs=[source])
    check_output(tmp_path / "out" / "m", replace=True, inputs=["s3://b/more", "s3://b", "gs://b/m"])


TEXTS = "ein Haus am Fluss\nένα σπίτι δίπλα στο ποτάμι\nτο παλιό σπίτι του ποταμού\n" * 20
# Each command that writes a model.
WRITERS = {
    "keras": (convert_checkpoint, "--from", ["--format", "keras"]),
    "hf": (convert_checkpoint, "--from", ["--format", "hf"]),
    "sentence-transformers": (convert_checkpoint, "--from", ["--format", "sentence-transformers"]),
    "layers": (drop_layers, "--model", ["--layers", "1"]),
    "trimmed": (trim_vocabulary, "--model", ["--input", "{text}"]),
    "extended": (extend_vocabulary, "--model", ["--input", "{text}", "--add", "2"]),
    "onnx": (export_onnx, "--model", []),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_each_writer_of_models_replaces_its_own_output(tmp_path, tiny_preset, capsys, writer):
    command, source, more = WRITERS[writer]
    (tmp_path / "de.txt").write_text(TEXTS)
    more = [word.format(text=tmp_path / "de.txt") for word in more]
    output = "--to" if command is convert_checkpoint else "--output_dir"
    words = [source, tiny_preset, output, tmp_path / "out", *more, "--overwrite"]
    run(command.main, *words)
    first = tree(tmp_path / "out")
    run(command.main, *words)
    assert tree(tmp_path / "out").keys() == first.keys()
    (tmp_path / "out" / "retrieval.json").write_text("{}")
    assert "holds retrieval.json, which would be deleted" in refused(capsys, command.main, *words)
    (tmp_path / "out" / "retrieval.json").unlink()
    words[1] = shutil.copytree(tiny_preset, tmp_path / "source")
    words[3] = tmp_path / "source"
    before = tree(tmp_path / "source")
    assert "is read from it" in refused(capsys, command.main, *words)
    assert tree(tmp_path / "source") == before


def run(main, *arguments):
    main([str(argument) for argument in arguments])


@pytest.mark.parametrize("source", ["out", "out/", "out/deep/file", "link", "./out/../out"])
def test_an_input_is_not_replaced(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_text("input")
    (tmp_path / "link").symlink_to("out")
    with pytest.raises(InputError, match="would be replaced, but .* is read from it"):
        with new_directory("out", replace=True, inputs=["nowhere", "hf://org/name", source]):
            raise AssertionError("is not reached")
    assert (tmp_path / "out" / "deep" / "file").read_text() == "input"
    with new_directory("out", replace=True, inputs=["outside"]) as directory:
        (directory / "file").write_text("new")
    assert (tmp_path / "out" / "file").read_text() == "new"


def test_commands_keep_their_inputs_and_the_files_of_others(tmp_path, tiny_preset, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("of years")
    before = tree(tiny_preset)
    convert = [convert_checkpoint.main, "--from", tiny_preset, "--format", "hf", "--overwrite", "--to"]
    assert "thesis.txt" in refused(capsys, *convert, mine)
    assert "is read from it" in refused(capsys, *convert, tiny_preset)
    text, model = tmp_path / "text.txt", tmp_path / "model"
    text.write_text("ein Haus\n")
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    index = [search.main, "index", "--model", model, "--input", text, "--overwrite", "--output_dir"]
    assert "is read from it" in refused(capsys, *index, model)
    (model / "index.json").write_text("{}")
    assert "is read from it" in refused(capsys, *index, model)
    assert tree(tiny_preset) == before and (mine / "thesis.txt").exists() and (model / "saved_model.pb").exists()


def test_sigterm_leaves_nothing(tmp_path, capsys):
    handler = signal.getsignal(signal.SIGTERM)

    def command():
        with new_directory(tmp_path / "out") as directory:
            (directory / "half").write_text("written")
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("is not reached")

    with pytest.raises(SystemExit) as exit:
        run_command(command)
    assert exit.value.code == 143 and capsys.readouterr().err == "interrupted\n"
    assert not list(tmp_path.iterdir()) and signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(SystemExit) as exit:
        run_command(lambda: os.kill(os.getpid(), signal.SIGINT))
    assert exit.value.code == 130


def test_a_handler_of_the_program_stays_in_place(tmp_path):
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with new_directory(tmp_path / "out") as directory:
            os.kill(os.getpid(), signal.SIGTERM)
            (directory / "file").write_text("whole")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM] and tree(tmp_path) == {"out/file": b"whole"}
