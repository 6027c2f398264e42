"""`infoxlm finetune-qa` as a script; its code is infoxlm_keras/commands/finetune_qa.py."""

from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands.finetune_qa import main
from infoxlm_keras.host_memory import restart_with_large_pages

if __name__ == "__main__":
    restart_with_large_pages(__file__)
    run_command(main)
