"""`infoxlm evaluate-retrieval`: the evaluation is infoxlm_keras/evaluation/retrieval_evaluation.py."""

from infoxlm_keras.commands.evaluate import command

main = command("retrieval")
