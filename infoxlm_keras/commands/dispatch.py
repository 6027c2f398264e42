"""`infoxlm COMMAND ...`: finds the command and passes its arguments on."""

import difflib
import itertools
import sys
from collections.abc import Sequence

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.registry import COMMANDS, main_of
from infoxlm_keras.errors import InputError
from infoxlm_keras.host_memory import restart_with_large_pages
from infoxlm_keras.version import __version__


def usage() -> str:
    """The text of `infoxlm --help`: all commands by group."""
    lines = [
        "usage: infoxlm COMMAND [OPTION ...]",
        "",
        "InfoXLM: cross-lingual language-model pre-training in Keras 3.",
        "`infoxlm COMMAND --help` explains a command.",
    ]
    width = max(map(len, COMMANDS))
    for group, rows in itertools.groupby(COMMANDS.items(), key=lambda row: row[1][0]):
        lines += ["", f"{group}:"]
        lines += [f"  {name:<{width}}  {summary}" for name, (_, summary) in rows]
    lines += ["", "other options: --help, --version"]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command that `arguments` (list of str; default: those of the process) name.

    Raises:
        InputError: for a command that does not exist.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(f"infoxlm_keras {__version__}")
        return
    name, *rest = arguments
    name = name.replace("_", "-")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else "see infoxlm --help"
        raise InputError(f"infoxlm {arguments[0]}: no such command; {hint}")
    # argparse shows the program's name in its usage line.
    sys.argv[0] = f"infoxlm {name}"
    main_of(name)(rest)


def console_script() -> None:
    """The entry point that `pip` installs as `infoxlm`; also `python -m infoxlm_keras`."""
    name = sys.argv[1].replace("_", "-") if len(sys.argv) > 1 else ""
    if name == "pretrain" or name.startswith("finetune-"):
        restart_with_large_pages()
    run_command(main)
