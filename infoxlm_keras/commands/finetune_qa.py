"""`infoxlm finetune-qa`: the head is infoxlm_keras/finetuning/question_answering_head.py."""

from infoxlm_keras.commands.finetune import command

main = command("qa")
