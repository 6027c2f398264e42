"""`infoxlm trim-vocabulary` as a script; its code is infoxlm_keras/commands/trim_vocabulary.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.trim_vocabulary import main

if __name__ == "__main__":
    run_command(main)
