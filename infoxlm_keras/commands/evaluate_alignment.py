"""`infoxlm evaluate-alignment`: the evaluation is infoxlm_keras/evaluation/alignment_evaluation.py."""

from infoxlm_keras.commands.evaluate import command

main = command("alignment")
