"""`infoxlm mine-bitext` as a script; its code is infoxlm_keras/commands/mine_bitext.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.mine_bitext import main

if __name__ == "__main__":
    run_command(main)
