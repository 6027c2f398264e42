"""`infoxlm finetune-classification`: the head is infoxlm_keras/finetuning/classification.py."""

from infoxlm_keras.commands.finetune import command

main = command("classification")
