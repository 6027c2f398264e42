"""Every command of `infoxlm`: one row each, in the order in which a newcomer needs them.

The commands of evaluations and of fine-tuning heads are those of the registries `evaluation/registry.py` and
`finetuning/registry.py`.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from infoxlm_keras.evaluation.registry import EVALUATIONS
from infoxlm_keras.finetuning.registry import FINETUNING_HEADS

# The first part of a name -> the module that runs all commands with it, and the row of each.
FAMILIES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "finetune": ("infoxlm_keras.commands.finetune", FINETUNING_HEADS),
    "evaluate": ("infoxlm_keras.commands.evaluate", {name: row for name, row in EVALUATIONS.items() if row.summary}),
}


def _family(first: str, group: str) -> dict[str, tuple[str, str]]:
    return {f"{first}-{name.replace('_', '-')}": (group, row.summary) for name, row in FAMILIES[first][1].items()}


# Name -> (group, one line of help). Without a family the module is `infoxlm_keras.commands.<name with underscores>`.
COMMANDS = {
    "demo": ("start", "the whole way on bundled text: records, pre-training, evaluation, SavedModel"),
    "unpack-sample-corpus": ("text to records", "write the bundled corpus as text files"),
    "train-tokenizer": ("text to records", "train a SentencePiece vocabulary in XLM-R's id layout"),
    "extend-vocabulary": ("text to records", "add pieces for new languages to a trained model"),
    "trim-vocabulary": ("text to records", "leave out the pieces that given texts do not use: a smaller model"),
    "build-monolingual": ("text to records", "pack text into blocks for MMLM"),
    "build-bitext": ("text to records", "encode sentence pairs for TLM and XLCO"),
    "build-with-beam": ("text to records", "the same builds on Apache Beam"),
    "inspect-records": ("text to records", "show and plot what records hold"),
    "write-tfds-metadata": ("text to records", "make records a data set of TensorFlow Datasets"),
    "pretrain": ("training", "pre-train with MMLM, TLM and XLCO"),
    "mine-negatives": ("training", "find hard negatives for training a sentence encoder"),
    **_family("finetune", "training"),
    "compile-step": ("training", "compile the step for TPUs and GPUs that are not at hand"),
    **_family("evaluate", "evaluation"),
    "mine-bitext": ("evaluation", "find translations in two files that are not aligned"),
    "xtreme": ("evaluation", "run the tasks of XTREME, one table beside published scores"),
    "report": ("evaluation", "one page on a run, or on several side by side"),
    "drop-layers": ("models", "leave out Transformer layers of a trained model: a smaller one"),
    "convert-checkpoint": ("models", "convert from and to Hugging Face, sentence-transformers, KerasHub"),
    "export-savedmodel": ("models", "export a SavedModel that takes strings"),
    "export-onnx": ("models", "export the sentence encoder to ONNX"),
    "export-litert": ("models", "export the sentence encoder to LiteRT, for small devices"),
    "search": ("models", "index sentences and find the nearest ones"),
    "make-sample-corpus": ("maintenance", "make the bundled corpus from help packages"),
}


def main_of(command: str) -> Callable[..., None]:
    """The function `main(arguments=None)` of the command `command`, a key of `COMMANDS`; its module is imported."""
    first, _, rest = command.replace("-", "_").partition("_")
    if first in FAMILIES and rest in FAMILIES[first][1]:
        return functools.partial(importlib.import_module(FAMILIES[first][0]).main, rest)
    return importlib.import_module(f"infoxlm_keras.commands.{command.replace('-', '_')}").main
