"""A Hugging Face directory's tensors by name. Only safetensors are opened: a pickle may run any code."""

import pathlib

from infoxlm_keras.conversion.checkpoint import Checkpoint, Stored
from infoxlm_keras.conversion.fairseq_checkpoint import fairseq_command
from infoxlm_keras.conversion.huggingface_config import backbone_arguments
from infoxlm_keras.conversion.tensor_files import INDEX_FILE, TensorFiles, find_tensor_files
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json

_PREFIX = "roberta."
# The same tensor under a second name, in files of older releases.
_ALIASES = {"lm_head.decoder.bias": "lm_head.bias"}
PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.bin")


def open_huggingface(directory):
    """The `Checkpoint` in a Hugging Face directory; close its `files` when done.

    Raises:
        InputError: if the model is none of ours (names the value), or it holds no safetensors.
    """
    directory = pathlib.Path(directory)
    arguments = backbone_arguments(read_json(directory / "config.json"), directory / "config.json")
    paths = find_tensor_files(directory)
    if not paths:
        raise InputError(missing_weights(directory))
    files = TensorFiles(paths)
    return Checkpoint(files, canonical_names(files.names), arguments, directory)


def canonical_names(names):
    """dict of our name to `Stored` for the tensors of `XLMRobertaModel` or `XLMRobertaForMaskedLM`."""
    stored = {}
    for name in names:
        own = name.removeprefix(_PREFIX)
        own = own.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        stored.setdefault(_ALIASES.get(own, own), Stored(name))
    return stored


def missing_weights(directory):
    """The message for a directory without safetensors: what it holds instead, and the way out."""
    directory = pathlib.Path(directory)
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


def pickle_command(pattern, name):
    """The shell command that turns a pickle of plain tensors into `model.safetensors` (needs torch, safetensors).

    `weights_only=True` is PyTorch's reader that runs no code; `clone` undoes the sharing of tied weights.
    """
    if name == "model.pt":
        return fairseq_command()
    pattern = pattern if name.startswith("pytorch_model") else name
    return (
        'python -c "import glob, torch, safetensors.torch as s; '
        f"t = [torch.load(f, map_location='cpu', weights_only=True) for f in glob.glob('{pattern}')]; "
        "s.save_file({n: v.clone().contiguous() for d in t for n, v in d.items()}, 'model.safetensors')\""
    )
