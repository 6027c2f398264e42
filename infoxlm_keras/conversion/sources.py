"""Finds the files of the model that a user names."""

import dataclasses
import os
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.from_sentence_transformers import MODULES_FILE, transformer_directory
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.files.model_directory import model_directory

KERAS, HUGGING_FACE, FAIRSEQ = "keras", "huggingface", "fairseq"


@dataclasses.dataclass(frozen=True)
class Source:
    """A model's files.

    Attributes:
        layout: `KERAS`, `HUGGING_FACE` or `FAIRSEQ`.
        directory: path, or None where KerasHub fetches the files itself.
        name: str, the name by which KerasHub knows the model.
        sentence_folder: path of the sentence-transformers folder that holds the model, or None.
    """

    layout: str
    directory: pathlib.Path | None
    name: str
    sentence_folder: pathlib.Path | None = None


def locate(source: PathLike) -> Source:
    """Finds the files of a model and downloads them if necessary.

    Args:
        source: str or path. A directory (KerasHub preset, Hugging Face, sentence-transformers, fairseq), a Hugging
            Face repository (`hf://org/name` or `org/name`, `@revision` may follow), the address of a directory in a
            store (`gs://`, `s3://`), or a KerasHub name (`xlm_roberta_base_multi`, `kaggle://...`).

    Returns:
        `Source`.

    Raises:
        InputError: if nothing is found, or the files are no model.
    """
    name = str(source)
    directory = model_directory(source)
    if directory is not None:
        return _at(directory)
    if name.startswith((".", "/", "~")) or ("/" in name and "://" not in name):
        raise InputError(f"{name}: no such directory; give a directory, a Hugging Face id or a KerasHub preset's name")
    return Source(KERAS, None, name)


def _at(directory):
    if os.path.lexists(directory / MODULES_FILE):
        inner = _model_at(transformer_directory(directory))
        return dataclasses.replace(inner, sentence_folder=directory)
    return _model_at(directory)


def _model_at(directory):
    config_path = directory / "config.json"
    if os.path.lexists(config_path):
        config = read_json(config_path)
        if isinstance(config, dict) and "registered_name" in config:
            return Source(KERAS, directory, str(directory))
        if isinstance(config, dict) and "model_type" in config:
            return Source(HUGGING_FACE, directory, str(directory))
        raise InputError(
            f"{config_path}: belongs to neither a KerasHub preset (registered_name) nor a Hugging Face "
            "model (model_type)"
        )
    if (directory / "0_Transformer" / "config.json").is_file():
        # Releases of sentence-transformers before 2 wrote the encoder there.
        return _model_at(directory / "0_Transformer")
    return _without_config(directory)


def _without_config(directory):
    from infoxlm_keras.conversion.fairseq_checkpoint import is_fairseq
    from infoxlm_keras.conversion.huggingface_checkpoint import PICKLES, missing_weights
    from infoxlm_keras.conversion.tensor_files import TensorFiles, find_tensor_files

    paths = find_tensor_files(directory)
    with TensorFiles(paths) as files:
        if is_fairseq(files.names):
            return Source(FAIRSEQ, directory, str(directory))
    if not paths and any(any(directory.glob(pattern)) for pattern in PICKLES):
        raise InputError(missing_weights(directory))
    if (directory / "adapter_config.json").is_file():
        raise InputError(
            f"{directory}: holds an adapter of PEFT and not the model under it; in transformers, load it, call "
            "merge_and_unload() and save the whole model"
        )
    raise InputError(f"{directory}: is not a model's directory (it has no config.json)")
