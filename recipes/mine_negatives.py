"""`infoxlm mine-negatives` as a script; its code is infoxlm_keras/commands/mine_negatives.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.mine_negatives import main

if __name__ == "__main__":
    run_command(main)
