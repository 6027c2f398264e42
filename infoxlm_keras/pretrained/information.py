"""`infoxlm.json`: what InfoXLM adds to a preset, which vector the model gives and how it was trained."""

import dataclasses
import os
import pathlib
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json

FILE_NAME = "infoxlm.json"
VERSION = 1


@dataclasses.dataclass
class PretrainingInfo:
    """The content of `infoxlm.json`.

    Attributes:
        universal_layer: int, hidden state that XLCO contrasted (index 0 = embeddings).
        pooling: "cls", "mean" or "max", how its vectors were pooled.
        normalize: bool, whether they were compared by cosine.
        steps: int, optimizer updates.
        tasks: list of str.
        tokenizer_fingerprint: str.
        data: dict, digests of the manifests trained on.
        settings: dict, the resolved settings of the run.
        max_length: int, tokens that a text is cut to for its vector; None: the encoder's positions. From a
            sentence-transformers folder.
        vector_refusal: str, why the own vector of a sentence-transformers folder cannot be expressed; else empty.
        prompts: {name: text}, what can be put before a text for its vector, see `pretrained/prompts.py`. Commands use
            `query` and `document`.
        kept_layers: list of int, the layers of the trained model that `infoxlm drop-layers` has left; else empty.
    """

    universal_layer: int
    pooling: str = "mean"
    normalize: bool = True
    steps: int = 0
    tasks: list[str] = dataclasses.field(default_factory=list)
    tokenizer_fingerprint: str = ""
    data: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    max_length: int | None = None
    vector_refusal: str = ""
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    kept_layers: list[int] = dataclasses.field(default_factory=list)


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# What a value must be, by field: a check and its words.
_FIELDS = {
    "universal_layer": (_is_count, "a whole number of at least 0"),
    "pooling": (lambda value: value in POOLINGS, f"one of {', '.join(POOLINGS)}"),
    "normalize": (lambda value: isinstance(value, bool), "true or false"),
    "steps": (_is_count, "a whole number of at least 0"),
    "tasks": (
        lambda value: isinstance(value, list) and all(isinstance(task, str) for task in value),
        "a list of text",
    ),
    "tokenizer_fingerprint": (lambda value: isinstance(value, str), "text"),
    "data": (lambda value: isinstance(value, dict), "an object"),
    "settings": (lambda value: isinstance(value, dict), "an object"),
    "max_length": (lambda value: value is None or (_is_count(value) and value >= 3), "a whole number of at least 3"),
    "vector_refusal": (lambda value: isinstance(value, str), "text"),
    "prompts": (
        lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
        "an object of names with a text each",
    ),
    "kept_layers": (
        lambda value: isinstance(value, list) and all(_is_count(layer) and layer for layer in value),
        "a list of whole numbers of at least 1",
    ),
}


def write_info(directory: PathLike, info: PretrainingInfo) -> None:
    """Writes `infoxlm.json` into `directory`."""
    content = dataclasses.asdict(info)
    # Few models have them; the files of others stay readable by earlier releases.
    for name in ("max_length", "vector_refusal", "prompts", "kept_layers"):
        if not content[name]:
            del content[name]
    write_json(pathlib.Path(directory) / FILE_NAME, {"version": VERSION, **content})


def read_info(directory: PathLike) -> PretrainingInfo | None:
    """The `PretrainingInfo` in a preset directory, or None if it holds no `infoxlm.json`.

    Raises:
        InputError: if the file is damaged, of another version, or has unknown fields.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not os.path.lexists(path):
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: does not describe a model's training; remove it to load the model without it")
    version = content.pop("version", None)
    if version != VERSION:
        raise InputError(f"{path}: version {version!r}, but this release reads version {VERSION}")
    for name, value in content.items():
        if name in _FIELDS and not _FIELDS[name][0](value):
            raise InputError(f"{path}: {name} = {value!r}, but must be {_FIELDS[name][1]}")
    try:
        return PretrainingInfo(**content)
    except TypeError as error:
        raise InputError(f"{path}: {error}") from None
