"""Reads the tensors of a Hugging Face directory by name. Only safetensors are opened: a pickle may run any code.

Names depend on how the model was saved. `embeddings...` and `encoder.layer...` may follow the encoder's name inside a
task model (`roberta.`) and the names of wrappers (`module.` of DataParallel, `_orig_mod.` of torch.compile, `model.`
of a trainer). A shared tensor is stored under one or several of its names.
"""

import pathlib
import re
from collections.abc import Collection

import numpy as np

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.checkpoint import Checkpoint, Stored
from infoxlm_keras.conversion.fairseq_checkpoint import fairseq_command
from infoxlm_keras.conversion.huggingface_config import backbone_arguments
from infoxlm_keras.conversion.parameters import DECODER, WORD_EMBEDDINGS
from infoxlm_keras.conversion.positions import POSITIONS
from infoxlm_keras.conversion.tensor_files import INDEX_FILE, TensorFiles, find_tensor_files
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json

# Exactly one tensor of an encoder has this name, so the name's prefix is the prefix of all its tensors.
_ANCHOR = POSITIONS
_HEAD = re.compile(r"(?P<before>(?:.+\.)?)(?P<own>lm_head\..+)")
# Second name of a tensor -> its first name.
_ALIASES = {"lm_head.decoder.bias": "lm_head.bias"}
# Parts of names by which PEFT marks layers with an adapter.
_ADAPTER_MARKS = (".lora_", ".base_layer.", ".modules_to_save.", ".original_module.")
PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.bin")


def open_huggingface(directory: PathLike) -> Checkpoint:
    """The `Checkpoint` in a Hugging Face directory; close its `files` when done.

    Raises:
        InputError: if the model is not an XLM-R encoder (names the value), the directory holds no safetensors, or
            their names are unknown (says what was found).
    """
    directory = pathlib.Path(directory)
    arguments = backbone_arguments(read_json(directory / "config.json"), directory / "config.json")
    paths = find_tensor_files(directory)
    if not paths:
        raise InputError(missing_weights(directory))
    files = TensorFiles(paths)
    try:
        stored = canonical_names(files.names, directory)
        _check_same(files, stored)
    except InputError:
        files.close()
        raise
    return Checkpoint(files, stored, arguments, directory)


def canonical_names(names: Collection[str], directory: PathLike) -> dict[str, Stored]:
    """dict of our name to `Stored` for the tensors of any model of transformers with an XLM-R encoder inside.

    Raises:
        InputError: if the names are those of no such encoder, of several, or of one with adapters.
    """
    for name in names:
        if any(mark in f".{name}" for mark in _ADAPTER_MARKS):
            raise InputError(
                f"{directory}: holds {name}, which PEFT wrote for a layer with an adapter; in transformers, call "
                "merge_and_unload() on the model and save it again"
            )
    prefix = _prefix(names, directory)
    stored: dict[str, Stored] = {}
    for name in names:
        own = _own_name(name, prefix)
        own = own.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        stored.setdefault(_ALIASES.get(own, own), Stored(name))
    if WORD_EMBEDDINGS not in stored and DECODER in stored:
        # safetensors.torch.save_model stores a shared tensor under the alphabetically first of its names.
        stored[WORD_EMBEDDINGS] = stored[DECODER]
    return stored


def _prefix(names, directory):
    """The prefix of the names of the encoder's tensors, str."""
    found = [name.removesuffix(_ANCHOR) for name in names if re.search(rf"(?:^|\.){re.escape(_ANCHOR)}$", name)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(repr(prefix) for prefix in sorted(found))
        raise InputError(
            f"{directory}: holds {len(found)} encoders, whose tensors' names begin with {shown}; save the one "
            "that you want alone"
        )
    shown = ", ".join(sorted(names)[:3]) or "nothing"
    raise InputError(
        f"{directory}: holds no tensor {_ANCHOR} (under any prefix), so no complete XLM-R encoder; found {len(names)} "
        f"tensors: {shown}{' ...' if len(names) > 3 else ''}"
    )


def _own_name(name, prefix):
    if name.startswith(prefix):
        name = name.removeprefix(prefix)
    # A head is a sibling of the encoder: its names have the wrappers' prefix, but not the encoder's.
    head = _HEAD.fullmatch(name)
    return head["own"] if head is not None and prefix.startswith(head["before"]) else name


def _check_same(files, stored):
    """Raises InputError if a tensor that our model has once is stored twice with different values."""
    for alias, own in _ALIASES.items():
        twins = [name for name in files.names if name.endswith((alias, own)) and _HEAD.fullmatch(name)]
        if len(twins) == 2 and own in stored and files.shape(twins[0]) == files.shape(twins[1]):
            if not np.array_equal(files.read(twins[0]), files.read(twins[1])):
                raise InputError(
                    f"{files.path(twins[0])}: {twins[0]} and {twins[1]} differ, but this model has one tensor for both"
                )


def missing_weights(directory: PathLike) -> str:
    """The message for a directory without safetensors: what it holds instead, and what to do."""
    directory = pathlib.Path(directory)
    others = sorted(path.name for path in directory.glob("*.safetensors") if path.name != "huggingface.safetensors")
    if (directory / "adapter_config.json").is_file():
        return (
            f"{directory}: holds an adapter of PEFT and not the model under it; in transformers, load it, call "
            "merge_and_unload() and save the whole model"
        )
    if others:
        return (
            f"{directory}: holds {', '.join(others[:3])}{' ...' if len(others) > 3 else ''}, but no model.safetensors "
            f"and no {INDEX_FILE}; a whole model in one file belongs under the name model.safetensors"
        )
    for pattern in PICKLES:
        found = sorted(path.name for path in directory.glob(pattern))
        if found:
            return (
                f"{directory}: holds pickled weights only ({found[0]}), which may run any code when opened; make "
                f"model.safetensors of them first: cd {directory} && {pickle_command(pattern, found[0])}"
            )
    return (
        f"{directory}: holds no model.safetensors (nor {INDEX_FILE}); pickled weights are neither fetched nor opened: "
        f"fetch pytorch_model.bin yourself, then {pickle_command(PICKLES[0], 'pytorch_model.bin')}"
    )


def pickle_command(pattern: str, name: str) -> str:
    """The shell command that turns a pickle of plain tensors into `model.safetensors` (needs torch, safetensors).

    `weights_only=True` selects PyTorch's reader that runs no code. `clone` separates tied weights, which safetensors
    cannot store.
    """
    if name == "model.pt":
        return fairseq_command()
    pattern = pattern if name.startswith("pytorch_model") else name
    return (
        'python -c "import glob, torch, safetensors.torch as s; '
        f"t = [torch.load(f, map_location='cpu', weights_only=True) for f in glob.glob('{pattern}')]; "
        "s.save_file({n: v.clone().contiguous() for d in t for n, v in d.items()}, 'model.safetensors')\""
    )
