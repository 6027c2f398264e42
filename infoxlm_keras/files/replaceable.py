"""What `--overwrite` may replace: a folder that this library wrote, and nothing that somebody put beside it."""

import fnmatch
import pathlib
from typing import NamedTuple

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

# What file managers and downloads from hubs leave in a folder.
_LEFT_BY_OTHERS = (".DS_Store", ".cache", ".gitattributes", "Thumbs.db", "desktop.ini")


class Contents(NamedTuple):
    """What a folder of ours looks like.

    Attributes:
        one_of: names of files, one of which it must hold.
        names: patterns of `fnmatch` for all that it may hold at its top; empty: anything.
    """

    one_of: tuple[str, ...]
    names: tuple[str, ...] = ()


# A folder with a model, in any of the formats that are written here or that Hugging Face's hub has.
MODEL_FOLDER = Contents(
    one_of=("config.json", "modules.json", "model.tflite"),
    names=(
        *("config.json", "metadata.json", "task.json", "preprocessor.json", "infoxlm.json", "labels.json", "assets"),
        *("*.weights.h5", "*.weights.json", "huggingface.safetensors", "vocabulary.spm", "README.md"),
        *("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json", "sentencepiece.bpe.model"),
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("generation_config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"),
        *("[0-9]_*", "onnx", "openvino", "model.tflite", "pytorch_model.bin", "pytorch_model-*-of-*.bin"),
        *("pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack"),
    ),
)


def check_replaceable(given: PathLike, path: pathlib.Path, contents: Contents) -> None:
    """Raises `InputError` unless the non-empty directory `path`, which the user calls `given`, is such a folder."""
    entries = sorted(entry.name for entry in path.iterdir())
    if not any((path / name).is_file() for name in contents.one_of):
        raise InputError(
            f"{given}: holds other files ({entries[0]}) and no {' or '.join(contents.one_of)}, so it is not "
            "overwritten; choose another output directory"
        )
    known = (*contents.names, *_LEFT_BY_OTHERS) if contents.names else ("*",)
    strange = [name for name in entries if not any(fnmatch.fnmatchcase(name, pattern) for pattern in known)]
    if strange:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise InputError(
            f"{given}: --overwrite would delete {strange[0]}{more}, which no command of this library wrote there; "
            "move it away, or choose another output directory"
        )
