"""`python -m infoxlm_keras COMMAND ...`, the same as `infoxlm COMMAND ...`."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.dispatch import main

if __name__ == "__main__":
    run_command(main)
