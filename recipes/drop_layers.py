"""`infoxlm drop-layers` as a script; its code is infoxlm_keras/commands/drop_layers.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.drop_layers import main

if __name__ == "__main__":
    run_command(main)
