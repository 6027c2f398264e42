"""Writes a model as a folder for transformers' AutoModelForMaskedLM, AutoModel and AutoTokenizer."""

import functools
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.conversion.huggingface_config import huggingface_config
from infoxlm_keras.conversion.parameters import encoder_parameters, head_parameters
from infoxlm_keras.conversion.positions import POOLER, TOKEN_TYPES, positions_from_keras
from infoxlm_keras.conversion.tensor_files import write_tensors
from infoxlm_keras.conversion.tokenizer_check import check_ids
from infoxlm_keras.conversion.tokenizer_json import MASK_TOKEN, has_own_class, special_ids, to_tokenizer_json
from infoxlm_keras.exporting.task_models import TaskModel
from infoxlm_keras.files import write_json

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.tokenizer import Tokenizer

MASKED_LM = "XLMRobertaForMaskedLM"
ENCODER = "XLMRobertaModel"


def write_huggingface(
    directory: PathLike,
    model: "PretrainedModel | TaskModel",
    dtype: str = "float32",
    max_shard_bytes: int = 5 * 10**9,
    num_layers: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Writes config, weights and tokenizer into the existing `directory`.

    Args:
        directory: path.
        model: `infoxlm_keras.pretrained.PretrainedModel`. With a head, and all layers, it becomes an
            `XLMRobertaForMaskedLM`; otherwise an `XLMRobertaModel`. Or a
            `infoxlm_keras.exporting.task_models.TaskModel`, which keeps its own head.
        dtype: one of `infoxlm_keras.choices.WEIGHT_DTYPES`.
        max_shard_bytes: int, largest size of a weights file.
        num_layers: int, number of Transformer layers to write, without a head; None: the whole model.
        progress: optional function that is called with the number of bytes just produced.

    Raises:
        InputError: if a value does not fit `dtype`, or `tokenizer.json` cannot represent the tokenizer.
    """
    directory = pathlib.Path(directory)
    architecture, head, settings = _head(model, num_layers)
    tables = positions_from_keras(model.backbone, model.remainder)
    config = huggingface_config(model.backbone, architecture, dtype, num_layers, len(tables[TOKEN_TYPES]))
    write_json(directory / "config.json", config | settings)
    # In a model with a head the encoder's names have a prefix.
    prefix = "roberta." if head else ""
    if model.remainder is not None and model.remainder.has_pooler and num_layers is None:
        tables |= {name: model.remainder.tensors[name] for name in POOLER}
    tensors: list[tuple[str, tuple[int, ...], Callable[[], Array]]] = [
        (prefix + name, table.shape, functools.partial(np.asarray, table)) for name, table in tables.items()
    ]
    tensors += [
        (prefix + parameter.name, parameter.shape, parameter.value)
        for parameter in encoder_parameters(model.backbone, num_layers)
    ]
    tensors += [(parameter.name, parameter.shape, parameter.value) for parameter in head]
    # The tokenizer comes first: if it cannot be converted, the error comes before the weights are written.
    write_tokenizer(directory, model.tokenizer, getattr(model, "max_length", model.backbone.max_sequence_length))
    write_tensors(directory, tensors, dtype, max_shard_bytes, progress)


def _head(model, num_layers):
    """(architecture, parameters, settings) of the head that is written with `num_layers` (None: all) layers."""
    if isinstance(model, TaskModel):
        return model.architecture, model.head, model.config
    if model.has_head and num_layers is None:
        return MASKED_LM, head_parameters(model.masked_lm), {}
    return ENCODER, [], {}


def write_tokenizer(directory: pathlib.Path, tokenizer: "Tokenizer", max_length: int) -> None:
    """Writes the tokenizer's files.

    Args:
        directory: path.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, most tokens of a text.

    Raises:
        InputError: if `tokenizer.json` cannot represent the model.
    """
    content = to_tokenizer_json(tokenizer)
    check_ids(tokenizer, content)
    (directory / "sentencepiece.bpe.model").write_bytes(tokenizer.proto)
    write_json(directory / "tokenizer.json", content)
    names = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
    }
    mask = {"content": MASK_TOKEN, "lstrip": True, "rstrip": False, "normalized": False, "single_word": False}
    write_json(directory / "special_tokens_map.json", {**names, "mask_token": mask})
    added = {
        str(token_id): {**mask, "content": token, "lstrip": token == MASK_TOKEN, "special": True}
        for token, token_id in special_ids(tokenizer).items()
    }
    tokenizer_class = "XLMRobertaTokenizer" if has_own_class(tokenizer) else "PreTrainedTokenizerFast"
    write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": tokenizer_class,
            **names,
            "mask_token": MASK_TOKEN,
            "added_tokens_decoder": added,
            "model_max_length": max_length,
            "clean_up_tokenization_spaces": False,
        },
    )
