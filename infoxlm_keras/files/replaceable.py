"""What a command may replace: a folder that this library wrote, and nothing that somebody put beside or into it."""

import fnmatch
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import storage

# What file managers, version control and downloads from hubs leave in a folder: at its top, with all that is in it.
_LEFT_BY_OTHERS = (".DS_Store", ".cache", ".gitattributes", "Thumbs.db", "desktop.ini")


class Contents(NamedTuple):
    """What a folder of ours looks like.

    Attributes:
        one_of: names of files, one of which it must hold.
        names: patterns of `fnmatch` for the files in it, relative to it (`onnx/model*.onnx`); empty: any.
    """

    one_of: tuple[str, ...]
    names: tuple[str, ...] = ()


# A folder with a model, in any of the formats that are written here or that Hugging Face's hub has.
MODEL_FOLDER = Contents(
    one_of=("config.json", "modules.json", "model.tflite"),
    names=(
        *("config.json", "metadata.json", "task.json", "preprocessor.json", "tokenizer.json"),
        *("model*.weights.h5", "model*.weights.json", "task*.weights.h5", "assets/tokenizer/vocabulary.spm"),
        *("infoxlm.json", "labels.json", "huggingface.safetensors", "README.md"),
        *("vocabulary_extension.json", "vocabulary_trimming.json", "layer_dropping.json"),
        *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "generation_config.json"),
        *("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json", "tf_model.h5"),
        *("flax_model.msgpack", "sentencepiece.bpe.model", "vocabulary.spm", "tokenizer_config.json"),
        *("special_tokens_map.json", "added_tokens.json", "modules.json", "sentence_bert_config.json"),
        *("config_sentence_transformers.json", "[0-9]_Pooling/config.json", "[0-9]_Normalize/config.json"),
        *("[0-9]_Dense/config.json", "[0-9]_Dense/model.safetensors", "[0-9]_Dense/pytorch_model.bin"),
        *("onnx/model*.onnx", "onnx/model*.onnx_data", "onnx/infoxlm.json", "openvino/openvino_model*"),
        "model.tflite",
    ),
)


def entries_of(path: pathlib.Path) -> list[str]:
    """The sorted names in the directory `path`, but for what an empty file system has at its root."""
    names = (entry.name for entry in path.iterdir())
    return sorted(name for name in names if not (name == "lost+found" and os.path.ismount(path)))


def check_replaceable(given: PathLike, path: pathlib.Path, contents: Contents, besides: str | None = None) -> None:
    """Raises `InputError` unless the directory `path`, which the user calls `given`, is such a folder.

    The entry of the name `besides` does not count.
    """
    entries = [name for name in entries_of(path) if name != besides]
    if not any((path / name).is_file() for name in contents.one_of):
        raise InputError(
            f"{given}: holds other files ({entries[0]}) and no {' or '.join(contents.one_of)}, so it is not "
            "replaced; choose another output directory"
        )
    strange = [name for name in _files_in(path, entries) if not _matches(name, contents.names)]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise InputError(
            f"{given}: holds {strange[0]}{more}, which would be deleted and which no command of this library wrote "
            "there; move it away, or choose another output directory"
        )


def check_no_input_within(given: PathLike, inputs: Iterable[PathLike]) -> None:
    """Raises `InputError` if one of `inputs`, names of any kind, is or lies in the folder `given`, which is replaced.

    Paths are compared with links followed. Of a local stand-in for an address in a store the address is compared.
    """
    target = place_of(given)
    for name in inputs:
        source = place_of(name)
        if source == target or source.startswith(target.rstrip("/") + "/"):
            if storage.is_remote(source) or os.path.lexists(source):
                raise InputError(
                    f"{given}: would be replaced, but {name} is read from it; choose another output directory"
                )


def place_of(name: PathLike) -> str:
    """Where a path leads to: an address, also of its local stand-in, or the path with links followed."""
    # It writes its own files by `atomic.py`, which needs this file.
    from infoxlm_keras.files import staging

    address = staging.named(os.fspath(name))
    return storage.trimmed(address) if storage.is_remote(address) else os.path.realpath(name)


def _files_in(path, entries):
    for name in entries:
        if name in _LEFT_BY_OTHERS:
            continue
        if (path / name).is_dir() and not (path / name).is_symlink():
            for folder, _, files in os.walk(path / name):
                yield from (os.path.relpath(os.path.join(folder, file), path) for file in sorted(files))
        else:
            yield name


def _matches(name, patterns):
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
