"""`infoxlm xtreme` as a script; its code is infoxlm_keras/commands/xtreme.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.xtreme import main

if __name__ == "__main__":
    run_command(main)
