"""Loads a tokenizer from a directory, a SentencePiece file, a preset or a repository."""

import os
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe, local_copy, storage
from infoxlm_keras.tokenizer import Tokenizer

# Path of the SentencePiece model in: a directory of ours, a KerasHub preset, a Hugging Face folder.
MODEL_FILES = ("vocabulary.spm", "assets/tokenizer/vocabulary.spm", "sentencepiece.bpe.model")


def load_tokenizer(source: PathLike) -> Tokenizer:
    """The tokenizer in a directory, a `.spm`/`.model`/`tokenizer.json` file, or a KerasHub preset name or handle.

    Args:
        source: str or path. A directory holding one of `MODEL_FILES` (or Hugging Face's `tokenizer.json` alone, from
            which a model is rebuilt), a SentencePiece file, a `tokenizer.json`, the address of one of these in a store
            (`gs://`, `s3://`), a Hugging Face repository (`hf://org/name`, `org/name`), or a name that
            `keras_hub.models.XLMRobertaTokenizer.from_preset` knows (`xlm_roberta_base_multi`, `kaggle://...`).

    Raises:
        InputError: if nothing is found there, or the model's layout is not XLM-R's.
    """
    path = local_copy(source, _is_tokenizer) if storage.is_remote(source) else pathlib.Path(source)
    if path.is_file():
        return _from_file(path)
    if path.is_dir():
        for name in (*MODEL_FILES, "tokenizer.json"):
            if os.path.lexists(path / name):
                return _from_file(path / name)
        raise InputError(f"{path}: holds no tokenizer (looked for {', '.join(MODEL_FILES)}, tokenizer.json)")
    from infoxlm_keras.files import hub

    if hub.is_repository(str(source)):
        return load_tokenizer(hub.download(str(source), hub.TOKENIZER_FILES))
    return _from_keras_hub(str(source))


def _is_tokenizer(name):
    return not name.endswith((".h5", ".safetensors", ".bin"))


def _from_file(path):
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'no such file'}; a tokenizer belongs there")
    if path.suffix == ".json":
        from infoxlm_keras.conversion.from_tokenizer_json import from_tokenizer_json

        return from_tokenizer_json(path)
    return Tokenizer(path.read_bytes(), path)


def check_sizes(source: PathLike, tokenizer: Tokenizer, vocabulary_size: int) -> None:
    """Raises InputError unless `tokenizer` has as many ids as the embedding of the model at `source` has rows."""
    if tokenizer.vocabulary_size != vocabulary_size:
        raise InputError(
            f"{source}: its tokenizer has {tokenizer.vocabulary_size} ids, its embedding {vocabulary_size} rows; "
            "they do not belong together"
        )


def _from_keras_hub(name):
    if name.startswith((".", "/")) or name.count("/") > 3:
        raise InputError(f"{name}: no such file or directory")
    import keras_hub

    try:
        tokenizer = keras_hub.models.XLMRobertaTokenizer.from_preset(name)
    except Exception as error:
        raise InputError(
            f"{name}: is neither a directory with a tokenizer nor a known preset ({describe(error)})"
        ) from error
    return Tokenizer(tokenizer.proto, name)
