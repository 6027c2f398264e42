"""Writes a model as a folder for `SentenceTransformer(directory)`, without the layers above the universal layer."""

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.exporting.to_huggingface import write_huggingface
from infoxlm_keras.files import write_json

if TYPE_CHECKING:
    from infoxlm_keras.models.sentence_vector import SentenceVector
    from infoxlm_keras.pretrained import PretrainedModel

# Names that every release since 0.3 understands.
_MODULES = "sentence_transformers.models"
_POOLINGS = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "max": "pooling_mode_max_tokens"}


def write_sentence_transformers(
    directory: PathLike,
    model: "PretrainedModel",
    vector: "SentenceVector",
    dtype: str = "float32",
    max_shard_bytes: int = 5 * 10**9,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Writes encoder, tokenizer, pooling, normalisation and prompts into the existing `directory`.

    Args:
        directory: path.
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `infoxlm_keras.models.sentence_vector.SentenceVector`; layers above its own are not written.
        dtype, max_shard_bytes, progress: as for `write_huggingface`.
    """
    directory = pathlib.Path(directory)
    write_huggingface(directory, model, dtype, max_shard_bytes, vector.layer, progress)
    write_modules(directory, model, vector)


def write_modules(directory: pathlib.Path, model: "PretrainedModel", vector: "SentenceVector") -> None:
    """Writes the files that tell sentence-transformers what becomes of the encoder's states; and the prompts.

    Args:
        directory: path that exists.
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `infoxlm_keras.models.sentence_vector.SentenceVector`.
    """
    modules = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling")]
    pooling = {
        "word_embedding_dimension": model.backbone.hidden_dim,
        **{name: kind == vector.pooling for kind, name in _POOLINGS.items()},
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    write_json(directory / "1_Pooling" / "config.json", pooling)
    if vector.normalize:
        modules.append(("2", "2_Normalize", "Normalize"))
        # The module has no settings, but the library requires its folder.
        write_json(directory / "2_Normalize" / "config.json", {})
    write_json(
        directory / "modules.json",
        [
            {"idx": number, "name": name, "path": path, "type": f"{_MODULES}.{kind}"}
            for number, (name, path, kind) in enumerate(modules)
        ],
    )
    write_json(
        directory / "sentence_bert_config.json",
        {"max_seq_length": vector.max_length, "do_lower_case": False},
    )
    write_json(
        directory / "config_sentence_transformers.json",
        {
            "prompts": {} if model.info is None else model.info.prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )
