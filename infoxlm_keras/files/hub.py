"""Download from and upload to model hubs, by the hubs' own libraries."""

import pathlib
import re
from collections.abc import Iterable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError

HUGGING_FACE = "hf://"
KAGGLE = "kaggle://"
TOKENIZER_FILES = (
    "sentencepiece.bpe.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "assets/tokenizer/*",
    "vocabulary.spm",
)
# Of a Hugging Face model and of a KerasHub preset; never a pickle, nor the same weights for another library.
MODEL_FILES = (
    *TOKENIZER_FILES,
    "config.json",
    "infoxlm.json",
    "labels.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "huggingface.safetensors",
    "special_tokens_map.json",
    # Of sentence-transformers: its modules' settings, and an encoder in a folder of its own.
    "modules.json",
    "*_config.json",
    "config_sentence_transformers.json",
    "*/config.json",
    "0_Transformer/*.safetensors",
    "0_Transformer/*.safetensors.index.json",
    "0_Transformer/sentencepiece.bpe.model",
    "0_Transformer/tokenizer.json",
    # Tokens that were added to the tokenizer.
    "*added_tokens.json",
    "metadata.json",
    "preprocessor.json",
    "task.json",
    "model*.weights.h5",
    "model.weights.json",
    "task.weights.h5",
    # What the commands that change a model report in its folder.
    "vocabulary_extension.json",
    "vocabulary_trimming.json",
    "layer_dropping.json",
)
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def is_repository(source: str) -> bool:
    """Whether `source` (str) names a Hugging Face repository: `hf://org/name`, or `org/name` where `org` is no
    directory here; `@revision` may follow."""
    if source.startswith(HUGGING_FACE):
        return True
    first = source.split("/")[0]
    return bool(_REPOSITORY.fullmatch(source)) and first not in (".", "..") and not pathlib.Path(first).exists()


def download(source: str, patterns: Iterable[str] = MODEL_FILES) -> pathlib.Path:
    """The local directory of a Hugging Face repository's files, from the cache if they are there.

    Args:
        source: str, see `is_repository`.
        patterns: which files to fetch.

    Returns:
        path.

    Raises:
        InputError: if huggingface_hub is missing, or the files cannot be had.
    """
    hub = _hugging_face(source)
    repository, _, revision = source.removeprefix(HUGGING_FACE).partition("@")
    try:
        directory = hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(patterns))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{source}: is not a directory here, and cannot be fetched from Hugging Face ({_first_line(error)})"
        ) from None
    return pathlib.Path(directory)


def check_upload(uri: str, to_keras: bool) -> None:
    """Raises InputError unless `uri` names a place that takes a folder of this format.

    Args:
        uri: str, `hf://org/name` or, for a KerasHub preset, `kaggle://user/model/keras/variation`.
        to_keras: bool, whether the folder is a KerasHub preset.
    """
    if uri.startswith(HUGGING_FACE) and _REPOSITORY.fullmatch(uri.removeprefix(HUGGING_FACE)) and "@" not in uri:
        return
    if uri.startswith(KAGGLE):
        if not to_keras:
            raise InputError(f"--upload {uri}: Kaggle takes KerasHub presets; choose --format keras, or hf://org/name")
        parts = uri.removeprefix(KAGGLE).split("/")
        if len(parts) == 4 and all(parts) and parts[2] == "keras":
            return
    raise InputError(f"--upload {uri}: must be hf://org/name or kaggle://user/model/keras/variation")


def upload(directory: PathLike, uri: str, to_keras: bool) -> None:
    """Uploads a finished folder.

    Args:
        directory: path.
        uri: str, see `check_upload`.
        to_keras: bool, whether `directory` is a KerasHub preset.

    Raises:
        InputError: if a hub refuses, or its library is missing; `directory` is left as it is.
    """
    check_upload(uri, to_keras)
    try:
        if to_keras:
            import keras_hub

            keras_hub.upload_preset(uri, str(directory))
        else:
            hub = _hugging_face(uri)
            repository = hub.create_repo(uri.removeprefix(HUGGING_FACE), exist_ok=True).repo_id
            hub.upload_folder(repo_id=repository, folder_path=str(directory))
    except InputError:
        raise
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"{uri}: cannot be uploaded to ({_first_line(error)}); {directory} is complete, log in and upload it again"
        ) from None


def _hugging_face(source):
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(f"{source}: needs huggingface_hub; pip install infoxlm_keras[hf]") from None
    return huggingface_hub


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
