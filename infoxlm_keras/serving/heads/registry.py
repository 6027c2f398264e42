"""The heads that a SavedModel can have by name: one row a head. Nothing else knows a head by its name."""

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import POOLINGS, VECTOR_TYPES
from infoxlm_keras.command_line import true_or_false
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    from infoxlm_keras.serving.serving_module import ServingModule


@dataclasses.dataclass(frozen=True)
class HeadRow:
    """The facts that a command needs of a head before TensorFlow is imported.

    Attributes:
        loader: `module:function`; the function opens a preset and makes the head's `ServingModule`, see `load_head`.
        help: what the head takes and returns, one line or several.
        settings: name of each further argument of the loader -> what `argparse` needs to offer it as an option. An
            option that is not given is not handed on.
        measures_retrieval: whether its outputs are sentence vectors, so that retrieval accuracy can be measured.
        needs_strings: whether it answers with strings, so that the string signatures cannot be left out.
    """

    loader: str
    help: str
    settings: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    measures_retrieval: bool = False
    needs_strings: bool = False


# The order is that of help texts.
HEADS = {
    "embedding": HeadRow(
        "infoxlm_keras.serving.heads.embedding:load_embedding",
        "text -> embedding [batch, dim], the universal layer pooled, of unit length unless the model's are\n"
        "not; no layer above it is in the export; of a model with prompts also the signatures query and document",
        settings={
            "layer": {"type": int, "metavar": "K", "help": "hidden state, 0 = embeddings; unset: universal"},
            "pooling": {"choices": POOLINGS, "help": "unset: as the model was trained, else mean"},
            "normalize": {
                "type": true_or_false,
                "metavar": "{true,false}",
                "help": "scale vectors to unit length; unset: as the model does, else true",
            },
            "dimensions": {
                "type": int,
                "metavar": "D",
                "help": "only the vector's first D dimensions, which are what is scaled; unset: all",
            },
            "vectors": {"choices": VECTOR_TYPES, "help": "type of the vectors that are returned; unset: float32"},
        },
        measures_retrieval=True,
    ),
    "masked_lm": HeadRow(
        "infoxlm_keras.serving.heads.masked_lm:load_masked_lm",
        "text with <mask> in it -> tokens, token_ids, probabilities [batch, masks, top_k]",
        settings={"top_k": {"type": int, "help": "candidates for each <mask>; unset: 5"}},
        needs_strings=True,
    ),
    "classifier": HeadRow(
        "infoxlm_keras.serving.heads.classification:load_classification",
        "text -> probabilities [batch, classes], and the classes' names if the preset has labels.json;\n"
        "the preset is a fine-tuned XLMRobertaTextClassifier",
    ),
    "qa": HeadRow(
        "infoxlm_keras.serving.heads.question_answering:load_question_answering_head",
        "question, context -> answer, score, start, end [batch]; the model of finetune-qa",
        settings={
            "max_answer": {"type": int, "metavar": "N", "help": "tokens of the longest answer; unset: 30"},
            "max_windows": {"type": int, "metavar": "N", "help": "windows of the longest context; unset: 16"},
        },
    ),
    "tagging": HeadRow(
        "infoxlm_keras.serving.heads.tagging:load_tagging",
        "text -> words, tags, score, start, end [batch, words]; the model of finetune-tagging; signature words: the\n"
        "same of words with a tab between two",
    ),
}


def head_row(name: str) -> HeadRow:
    """The row of the head `name`.

    Raises:
        InputError: if there is no such head.
    """
    if name not in HEADS:
        raise InputError(f"{name!r}: no such serving head; there are {', '.join(HEADS)}")
    return HEADS[name]


def owners_of_settings() -> dict[str, list[str]]:
    """dict of each setting that some heads have to the names of these heads."""
    settings = dict.fromkeys(setting for row in HEADS.values() for setting in row.settings)
    return {setting: [name for name, row in HEADS.items() if setting in row.settings] for setting in settings}


def heads_help() -> str:
    """The heads and what each returns, as lines for a help text."""
    width = max(map(len, HEADS)) + 2
    return "\n".join(
        f"  {name if not number else '':<{width}}{line}"
        for name, row in HEADS.items()
        for number, line in enumerate(row.help.split("\n"))
    )


def load_head(name: str, source: PathLike, **settings: Any) -> "tuple[ServingModule, Any]":
    """Opens a preset and makes a head's module of it.

    Args:
        name: str, a key of `HEADS`.
        source: directory of a preset, or a name that KerasHub knows.
        settings: `max_length` and `storage`, which every loader takes, and the row's `settings`. A setting that is
            left out has the default of the head's module.

    Returns:
        (module, model): the `ServingModule`, and the model it came from, with weights in float32.

    Raises:
        InputError: if there is no such head, the preset is damaged or holds no such head, or a setting is out of
            range.
    """
    module, _, function = head_row(name).loader.partition(":")
    return getattr(importlib.import_module(module), function)(source, **settings)
