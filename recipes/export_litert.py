"""`infoxlm export-litert` as a script; its code is infoxlm_keras/commands/export_litert.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.export_litert import main

if __name__ == "__main__":
    run_command(main)
