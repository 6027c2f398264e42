"""`infoxlm train-tokenizer` as a script; its code is infoxlm_keras/commands/train_tokenizer.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.train_tokenizer import main

if __name__ == "__main__":
    run_command(main)
