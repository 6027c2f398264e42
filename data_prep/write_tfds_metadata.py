"""`infoxlm write-tfds-metadata` as a script; its code is infoxlm_keras/commands/write_tfds_metadata.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.write_tfds_metadata import main

if __name__ == "__main__":
    run_command(main)
