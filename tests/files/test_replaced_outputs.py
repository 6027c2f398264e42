"""What --overwrite may remove; what SIGTERM and Ctrl-C leave."""

import os
import signal

import pytest

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import convert_checkpoint, search
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import Contents, new_directory
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
        InputError, match=r"out: --overwrite would delete thesis.txt, which no command of this library"
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


@pytest.mark.parametrize("form", ["keras", "hf", "sentence-transformers"])
def test_a_model_of_any_format_is_replaced_but_not_what_lies_beside_it(tmp_path, tiny_preset, capsys, form):
    out = tmp_path / "out"
    convert = [convert_checkpoint.main, "--from", str(tiny_preset), "--to", str(out), "--format"]
    run(*convert, form)
    first = tree(out)
    run(*convert, form, "--overwrite")
    assert tree(out).keys() == first.keys()
    (out / "retrieval.json").write_text("{}")
    message = refused(capsys, *convert, "hf", "--overwrite")
    assert "would delete retrieval.json, which no command of this library wrote" in message
    (out / "retrieval.json").unlink()
    run(*convert, "hf", "--overwrite")
    assert (out / "model.safetensors").is_file()


def run(main, *arguments):
    main([str(argument) for argument in arguments])


@pytest.mark.parametrize("source", ["out", "out/", "out/deep/file", "link", "./out/../out"])
def test_an_input_is_not_replaced(tmp_path, source, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "file").write_text("input")
    (tmp_path / "link").symlink_to("out")
    with pytest.raises(InputError, match="would be overwritten, but .* is read from it"):
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
