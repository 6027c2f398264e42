"""`infoxlm evaluate-alignment` as a script; its code is infoxlm_keras/commands/evaluate_alignment.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.evaluate_alignment import main

if __name__ == "__main__":
    run_command(main)
