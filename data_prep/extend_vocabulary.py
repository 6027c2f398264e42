"""`infoxlm extend-vocabulary` as a script; its code is infoxlm_keras/commands/extend_vocabulary.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.extend_vocabulary import main

if __name__ == "__main__":
    run_command(main)
