"""`infoxlm compile-step` as a script; its code is infoxlm_keras/commands/compile_step.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.compile_step import main

if __name__ == "__main__":
    run_command(main)
