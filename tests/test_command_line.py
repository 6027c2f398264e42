"""Exit codes and one-line errors of every command; output that is complete or absent."""

import errno
import json
import os
import pathlib
import sys

import pytest
from rich.table import Table

from infoxlm_keras.command_line import argument_parser, quiet_imports, run_command, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, read_text, read_yaml, without_wildcards, write_json


def exit_of(main, capsys):
    with pytest.raises(SystemExit) as exit:
        run_command(main)
    return exit.value.code, capsys.readouterr().err


def raiser(error):
    def main():
        raise error

    return main


def test_all_done_is_0(capsys):
    assert exit_of(lambda: None, capsys) == (0, "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("a.txt: line 3: broken"), "error: a.txt: line 3: broken\n"),
        (OSError(errno.ENOSPC, "full", "out/x"), "error: out/x: no space left on device; free some space"),
        (OSError(errno.EACCES, "denied", "out/x"), "error: out/x: permission denied; check the owner"),
        (OSError(errno.ENOENT, "missing", "in/x"), "error: in/x: no such file or directory\n"),
    ],
)
def test_what_the_user_can_mend_is_2_and_one_line(capsys, error, message):
    status, output = exit_of(raiser(error), capsys)
    assert status == 2 and output.startswith(message) and output.count("\n") == 1


def test_our_own_errors_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(raiser(ZeroDivisionError()))


def test_an_interruption_is_130(capsys):
    assert exit_of(raiser(KeyboardInterrupt()), capsys) == (130, "interrupted\n")


@pytest.mark.parametrize("text", ["in [/usr/lib] here", "[/INST]", "Press [Enter] or [ctrl]", ":smile: [link=x]"])
def test_a_table_shows_the_texts_of_users_as_they_are(capsys, text):
    """rich takes brackets for markup, and colons for the names of emojis."""
    table = Table("sentence", title=text)
    table.add_row(text)
    show_table(table)
    assert capsys.readouterr().out.count(text) == 2


def test_quiet_imports_hides_native_output_only_inside(capfd):
    with quiet_imports():
        os.write(2, b"native noise\n")
    print("after", file=sys.stderr)
    assert capfd.readouterr().err == "after\n"


def test_a_directory_appears_complete(tmp_path):
    with new_directory(tmp_path / "a" / "b") as directory:
        (directory / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), new_directory(tmp_path / "a" / "b") as directory:
        (directory / "file").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_leaves_the_old_content(tmp_path):
    (tmp_path / "old").write_text("x")
    with pytest.raises(RuntimeError), new_directory(tmp_path, replace=True) as directory:
        (directory / "new").write_text("y")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_is_there_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "old").write_text("x")
    with pytest.raises(InputError, match="is not empty"), new_directory(tmp_path):
        pass
    with pytest.raises(InputError, match="is a file"), new_directory(tmp_path / "old"):
        pass


def test_json_round_trip_and_its_errors(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, "ü"]})
    assert read_json(tmp_path / "a.json") == {"b": [1, "ü"]}
    (tmp_path / "bad.json").write_text('{"a": 1,}')
    with pytest.raises(InputError, match=r"bad.json: is not valid JSON: .* line 1 column"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_text(tmp_path / "latin.txt")
    with pytest.raises(InputError, match="no such file"):
        read_text(tmp_path / "nowhere")


def link(path, target):
    path.symlink_to(target, target_is_directory=True)
    return path


def test_an_output_folder_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "disk/old").mkdir(parents=True)
    (tmp_path / "disk/old/file").write_text("x")
    out = link(tmp_path / "out", tmp_path / "disk/old")
    with pytest.raises(InputError, match="is not empty"), new_directory(out):
        pass
    with new_directory(out, replace=True) as directory:
        (directory / "new").write_text("y")
        assert (tmp_path / "disk/old/file").exists()
    assert out.is_symlink() and [path.name for path in (tmp_path / "disk/old").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["old"]


def test_a_link_that_leads_to_nothing_yet_gets_its_folder(tmp_path):
    out = link(tmp_path / "out", tmp_path / "later/folder")
    with new_directory(out) as directory:
        (directory / "new").write_text("y")
    assert out.is_symlink() and (tmp_path / "later/folder/new").read_text() == "y"
    write_json(link(tmp_path / "a.json", tmp_path / "later/b.json"), 1)
    assert (tmp_path / "a.json").is_symlink() and read_json(tmp_path / "later/b.json") == 1


def test_a_link_to_itself_is_told(tmp_path):
    with (
        pytest.raises(InputError, match="leads back to itself"),
        new_directory(link(tmp_path / "out", tmp_path / "out")),
    ):
        pass


def test_a_mounted_folder_is_filled_in_place(tmp_path, monkeypatch):
    out = tmp_path / "mounted"
    (out / "old").mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) == str(out))
    number = out.stat().st_ino
    with pytest.raises(RuntimeError), new_directory(out, replace=True) as directory:
        (directory / "new").write_text("y")
        raise RuntimeError
    assert [path.name for path in out.iterdir()] == ["old"]
    with new_directory(out, replace=True) as directory:
        (directory / "new").write_text("y")
    assert out.stat().st_ino == number and [path.name for path in out.iterdir()] == ["new"]


def test_names_that_are_not_utf_8_go_into_json_and_back(tmp_path):
    name = os.fsdecode(b"k\xe9y \xc3\xbc")
    write_json(tmp_path / name, {"path": name})
    assert read_json(tmp_path / name) == {"path": name}
    assert json.loads((tmp_path / name).read_bytes().decode("utf-8")) == {"path": name}


def test_wildcards_are_kept_from_libraries(tmp_path):
    folder = tmp_path / "run[lr=1e-3]*"
    folder.mkdir()
    (folder / "file").write_text("x")
    with without_wildcards(folder) as name:
        assert not set(name) & set("[]*?{}") and pathlib.Path(name, "file").read_text() == "x"
    assert not os.path.lexists(name) and (folder / "file").exists()
    with without_wildcards(tmp_path) as name:
        assert name == str(tmp_path)


def test_yaml_and_kinds_of_json(tmp_path):
    for text in ("a: [", "[" * 20_000, "a: 2020-13-45", "!!python/object:os.system x", "\x01"):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(InputError, match="bad.yaml: is not valid YAML"):
            read_yaml(tmp_path / "bad.yaml")
    write_json(tmp_path / "list.json", [1])
    with pytest.raises(InputError, match="must hold an object .* not list"):
        read_json(tmp_path / "list.json", dict)
    with pytest.raises(InputError, match="is not a path"):
        read_text("a\0b")


def test_help_shows_the_defaults_that_say_something():
    parser = argument_parser("Does it.")
    parser.add_argument("--needed", required=True, help="is needed")
    parser.add_argument("--unset", help="may be left; unset: all")
    parser.add_argument("--several", action="append", default=[], help="may be repeated")
    parser.add_argument("--number", type=int, default=3, help="has a number")
    text = parser.format_help()
    assert "(default: 3)" in text and text.count("(default:") == 1
