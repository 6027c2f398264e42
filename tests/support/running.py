"""Running commands in this process."""

import os

import pytest

from infoxlm_keras.command_line import run_command


def run(main, *arguments):
    """Runs a command that must do all of its work (exit code 0)."""
    with pytest.raises(SystemExit) as exit:
        run_command(lambda: main([str(argument) for argument in arguments]))
    assert exit.value.code == 0


def refused(capsys, main, *arguments):
    """Runs a command that must refuse its input: exit code 2 and one line on standard error, which is returned."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        run_command(lambda: main([str(argument) for argument in arguments]))
    message = capsys.readouterr().err
    assert exit.value.code == 2, message
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def tree(directory):
    """dict of relative path to bytes of every file below `directory`, hidden ones included."""
    files = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                files[os.path.relpath(path, directory)] = file.read()
    return files
