"""`infoxlm COMMAND ...`: the registry of commands, and how a command is found."""

import ast
import subprocess
import sys

import pytest

from infoxlm_keras.commands import dispatch
from infoxlm_keras.commands.registry import COMMANDS, FAMILIES
from infoxlm_keras.errors import InputError
from infoxlm_keras.version import __version__
from repository import REPOSITORY

SCRIPTS = sorted([*(REPOSITORY / "recipes").glob("*.py"), *(REPOSITORY / "data_prep").glob("*.py")])
COMMAND_MODULES = sorted((REPOSITORY / "infoxlm_keras" / "commands").glob("*.py"))


def test_every_script_has_a_row_and_every_row_a_module():
    scripts = {path.stem.replace("_", "-") for path in SCRIPTS}
    modules = {path.stem.replace("_", "-") for path in COMMAND_MODULES}
    modules -= {"--init--", "device-options", "dispatch", "encoder-export", "registry", *FAMILIES}
    modules -= {"finetune-options", "finetune-report"}
    assert len(scripts) == len(SCRIPTS) > 10
    # The evaluations and the fine-tuning heads that were added later have a row, and need neither.
    families = {name for name in COMMANDS if name.split("-")[0] in FAMILIES}
    assert scripts == modules and set(COMMANDS) - families <= modules <= set(COMMANDS)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_a_thin_face_of_its_command(path):
    body = ast.parse(path.read_text()).body
    imports = {name.name: node.module for node in body if isinstance(node, ast.ImportFrom) for name in node.names}
    expected = {
        "main": f"infoxlm_keras.commands.{path.stem}",
        "run_command": "infoxlm_keras.command_line",
    }
    calls = ["run_command(main)"]
    # Commands that train use large pages of memory.
    if path.stem == "pretrain" or path.stem.startswith("finetune_"):
        expected["restart_with_large_pages"] = "infoxlm_keras.host_memory"
        calls = ["restart_with_large_pages(__file__)", *calls]
    assert imports == expected
    # The docstring, the imports, and the guarded calls.
    assert [type(node) for node in body] == [ast.Expr, *[ast.ImportFrom] * len(expected), ast.If]
    assert [ast.unparse(node) for node in body[-1].body] == calls


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["infoxlm"])
    with pytest.raises(SystemExit) as exit:
        dispatch.main([name, "--help"])
    out = capsys.readouterr().out
    assert exit.value.code == 0 and out.startswith(f"usage: infoxlm {name} ")


def test_help_lists_every_command_once_under_its_group(capsys):
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        dispatch.main(arguments)
        lines = capsys.readouterr().out.splitlines()
        starts = [line.split()[0] for line in lines if line.startswith("  ")]
        assert starts == list(COMMANDS)
    # One heading a group: its commands stand together.
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert len(headings) == len(set(headings)) == len({group for group, _ in COMMANDS.values()})


def test_version(capsys):
    dispatch.main(["--version"])
    assert capsys.readouterr().out == f"infoxlm_keras {__version__}\n"


@pytest.mark.parametrize(
    ("given", "meant"), [("pretrian", "pretrain"), ("build-bitex", "build-bitext"), ("serach", "search")]
)
def test_an_unknown_command_is_refused_with_the_nearest_one(given, meant):
    with pytest.raises(InputError, match=f"infoxlm {given}: no such command; did you mean {meant}\\?"):
        dispatch.main([given])


def test_a_command_like_none_points_to_the_help():
    with pytest.raises(InputError, match="infoxlm qqqq: no such command; see infoxlm --help"):
        dispatch.main(["qqqq"])


def test_underscores_are_hyphens(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["infoxlm"])
    with pytest.raises(SystemExit):
        dispatch.main(["build_bitext", "--help"])
    assert "usage: infoxlm build-bitext" in capsys.readouterr().out


def test_the_module_runs_as_a_process_with_exit_code_2_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "infoxlm_keras", "pretrian"],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stderr.startswith("error: infoxlm pretrian")


def test_help_of_all_commands_needs_no_tensorflow():
    code = (
        "import sys\n"
        "from infoxlm_keras.commands import dispatch\n"
        "dispatch.main(['--help'])\n"
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
