"""`infoxlm finetune-tagging`: the head is infoxlm_keras/finetuning/tagging.py."""

from infoxlm_keras.commands.finetune import command

main = command("tagging")
