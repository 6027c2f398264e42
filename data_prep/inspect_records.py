"""`infoxlm inspect-records` as a script; its code is infoxlm_keras/commands/inspect_records.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.inspect_records import main

if __name__ == "__main__":
    run_command(main)
