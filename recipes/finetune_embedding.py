"""`infoxlm finetune-embedding` as a script; its code is infoxlm_keras/commands/finetune_embedding.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.finetune_embedding import main

if __name__ == "__main__":
    run_command(main)
