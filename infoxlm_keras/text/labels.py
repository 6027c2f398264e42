"""Labels: which values are gold labels, the order of the classes, and the file that a saved classifier keeps them in.

A fine-tuned preset holds its class names in `labels.json` beside the files of KerasHub: a JSON list of str, name n for
output n. Whoever takes a preset elsewhere (transformers' `id2label`, a SavedModel's class names) gets them from
`read_labels`.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json
from infoxlm_keras.files.model_directory import model_directory
from infoxlm_keras.text.readers.packed import check_text

if TYPE_CHECKING:
    from infoxlm_keras.text.labelled_texts import LabelledTexts

LABELS_FILE = "labels.json"
# How programs write a value that is missing.
MISSING = ("", "null", "NULL", "NaN", "nan", "None", "<NA>", "N/A", "n/a", "#N/A", "\\N")
# A row without a gold label: `-` in SNLI, MultiNLI and XNLI, -1 in the Hugging Face `datasets` library.
NO_LABEL = (*MISSING, "-", "-1")
# MultiNLI's translations, as distributed with XNLI, write one label in another way.
LABEL_ALIASES = {"contradictory": "contradiction"}
# What pandas makes of a column of whole numbers in which some are missing: 1 becomes 1.0.
WHOLE_NUMBER = re.compile(r"([+-]?\d+)\.0*")
FRACTION = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?|[+-]?\d+[eE][+-]?\d+")


def gold_label(value: Any, place: str) -> str | None:
    """The class name of a label: the same for text, number and truth value.

    Args:
        value: what JSON, Parquet or a cell of text gave.
        place: str, file and line, for messages.

    Returns:
        str; None for one of `NO_LABEL`, a missing value, or a number that is not one (NaN).

    Raises:
        InputError: for a list, an object and other values that name no class, and for a number with a fraction.

    Example:
    ```python
    gold_label(1, "x"), gold_label("1.0", "x"), gold_label(True, "x"), gold_label(-1, "x")  # "1", "1", "true", None
    ```
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, (str, bool, int, float)):
        raise InputError(f"{place}: the label is a {type(value).__name__}; a label is a name or a whole number")
    label = str(value).strip()
    if label.lower() in ("true", "false"):
        return label.lower()
    whole = WHOLE_NUMBER.fullmatch(label)
    label = str(int(whole[1])) if whole else label
    if label in NO_LABEL:
        return None
    if FRACTION.fullmatch(label) or (isinstance(value, float) and not whole):
        raise InputError(f"{place}: the label {label} is a number with a fraction; a class has a name or whole number")
    return LABEL_ALIASES.get(label, check_text(label, f"{place}: the label"))


def class_names(parts: Iterable[LabelledTexts]) -> list[str]:
    """The classes of labelled texts in the order of a classifier's outputs: numbers by value, names by alphabet.

    Args:
        parts: list of `LabelledTexts`, the training data; their order does not matter.

    Returns:
        list of str, at least two.

    Raises:
        InputError: if there are fewer.
    """
    found = {label for part in parts for label in part.labels}
    numbers = all(re.fullmatch(r"[+-]?\d+", label) for label in found)
    labels = sorted(found, key=lambda label: (int(label) if numbers else 0, label))
    if len(labels) < 2:
        raise InputError(f"labels = {labels}: a classifier needs at least two in its training data")
    return labels


def check_labels(labels: Sequence[str], parts: Iterable[LabelledTexts]) -> None:
    """Raises `InputError` for a label in `parts` (list of `LabelledTexts`) that is not in `labels`: file and line."""
    for part in parts:
        for label in sorted(set(part.labels) - set(labels)):
            raise InputError(
                f"{part.places.get(label) or ', '.join(part.files)}: label {label!r} is not one of the training "
                f"data's: {', '.join(labels)}; correct it, or remove its rows"
            )


def check_label_names(labels: Sequence[str], classes: int) -> None:
    """Raises `InputError` unless `labels` are `classes` different names."""
    names = isinstance(labels, list | tuple) and all(isinstance(label, str) and label for label in labels)
    if not names or len(set(labels)) != len(labels) or len(labels) != classes:
        raise InputError(f"labels = {str(labels)[:200]}: must be {classes} different names, one for each class")


def write_labels(directory: PathLike, labels: Sequence[str]) -> None:
    """Writes `labels` (list of str) into the preset `directory`."""
    write_json(pathlib.Path(directory) / LABELS_FILE, labels)


def read_labels(
    directory: PathLike, classes: int | None = None, command: str = "infoxlm finetune-classification"
) -> list[str]:
    """The class names of a fine-tuned preset, in the order of its outputs.

    Args:
        directory: str or path of the preset, an address in a store, or a Hugging Face repository.
        classes: int or None, how many outputs the model has.
        command: str, what writes such a preset, for messages.

    Returns:
        list of str.

    Raises:
        InputError: if there is no `labels.json`, or it holds something else than `classes` different names.
    """
    path = (model_directory(directory) or pathlib.Path(directory)) / LABELS_FILE
    if not path.is_file():
        raise InputError(f"{directory}: holds no {LABELS_FILE}; fine-tune with {command}")
    labels = read_json(path)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: must be a list of class names; fine-tune again, or write the names in a list")
    if len(set(labels)) != len(labels):
        raise InputError(f"{path}: names a class twice; each output needs a name of its own")
    if classes is not None and len(labels) != classes:
        raise InputError(f"{path}: names {len(labels)} classes, but the model has {classes} outputs")
    return labels
