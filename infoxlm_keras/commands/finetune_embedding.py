"""`infoxlm finetune-embedding`: the head is infoxlm_keras/finetuning/embedding.py."""

from infoxlm_keras.commands.finetune import command

main = command("embedding")
