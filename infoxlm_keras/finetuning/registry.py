"""The fine-tuning heads by name, one row a head. Nothing else asks for one by its name."""

import dataclasses
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead


@dataclasses.dataclass(frozen=True)
class FineTuningRow:
    """The facts that `infoxlm --help` needs of a head before Keras is imported.

    Attributes:
        address: `module:class` of the `FineTuningHead`.
        summary: one line on the command `infoxlm finetune-<name>`.
    """

    address: str
    summary: str


# The order is that of help texts.
FINETUNING_HEADS = {
    "classification": FineTuningRow(
        "infoxlm_keras.finetuning.classification:ClassificationHead",
        "fine-tune a classifier in one language, measure it in all",
    ),
    "embedding": FineTuningRow(
        "infoxlm_keras.finetuning.embedding:EmbeddingHead",
        "tune sentence vectors on pairs or triples of texts, for search and mining",
    ),
    "qa": FineTuningRow(
        "infoxlm_keras.finetuning.question_answering_head:QuestionAnsweringHead",
        "fine-tune question answering in one language, measure it in all",
    ),
    "tagging": FineTuningRow(
        "infoxlm_keras.finetuning.tagging:TaggingHead",
        "fine-tune tags of words in one language, measure them in all",
    ),
}


def head_class(name: str) -> "type[FineTuningHead]":
    """The class of the head `name`, a key of `FINETUNING_HEADS`."""
    module, _, class_name = FINETUNING_HEADS[name].address.partition(":")
    return getattr(importlib.import_module(module), class_name)
