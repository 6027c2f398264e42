"""`infoxlm make-sample-corpus` as a script; its code is infoxlm_keras/commands/make_sample_corpus.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.make_sample_corpus import main

if __name__ == "__main__":
    run_command(main)
