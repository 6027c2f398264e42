"""`infoxlm build-with-beam` as a script; its code is infoxlm_keras/commands/build_with_beam.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.build_with_beam import main

if __name__ == "__main__":
    run_command(main)
