"""The evaluations by name, one row an evaluation. Nothing else asks for one by its name."""

import dataclasses
import functools
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class EvaluationRow:
    """The facts that `infoxlm --help` needs of an evaluation before Keras is imported.

    Attributes:
        address: `module:class` of the `Evaluation`.
        summary: one line on the command `infoxlm evaluate-<name>`; empty if there is no such command.
    """

    address: str
    summary: str = ""


# The order is that of logs and plots. Of the evaluations of a run, the first one chooses the best checkpoint.
EVALUATIONS = {
    "retrieval": EvaluationRow(
        "infoxlm_keras.evaluation.retrieval_evaluation:RetrievalEvaluation",
        "find translations among held-out sentences",
    ),
    "alignment": EvaluationRow(
        "infoxlm_keras.evaluation.alignment_evaluation:AlignmentEvaluation",
        "link the words of sentence pairs, error rate against gold links",
    ),
    "validation": EvaluationRow("infoxlm_keras.evaluation.validation_loss:ValidationLoss"),
}


@functools.cache
def evaluation_classes() -> "dict[str, type[Evaluation]]":
    """dict of name to class, in the order of the rows."""
    found = {}
    for name, row in EVALUATIONS.items():
        module, _, class_name = row.address.partition(":")
        found[name] = getattr(importlib.import_module(module), class_name)
    return found
