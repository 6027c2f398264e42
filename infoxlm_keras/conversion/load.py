"""Loads a Hugging Face or fairseq directory as a model with its masked-LM head and tokenizer."""

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras_hub
import numpy as np

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.added_tokens import check_added_tokens, check_same_pieces, unused_rows
from infoxlm_keras.conversion.fairseq_checkpoint import check_dictionary, open_fairseq
from infoxlm_keras.conversion.finite_weights import check_finite_array
from infoxlm_keras.conversion.huggingface_checkpoint import open_huggingface
from infoxlm_keras.conversion.parameters import (
    DECODER,
    HEAD_PREFIX,
    WORD_EMBEDDINGS,
    encoder_parameters,
    expected_shapes,
    head_parameters,
)
from infoxlm_keras.conversion.positions import (
    OFFSET,
    POOLER,
    POSITIONS,
    TOKEN_TYPES,
    Remainder,
    positions_to_keras,
)
from infoxlm_keras.conversion.sources import FAIRSEQ
from infoxlm_keras.conversion.tokenizers import check_sizes, load_tokenizer
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.tokenizer import Tokenizer

# Buffers without trained values.
_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids", "sentence_encoder.version")


def load_checkpoint(
    directory: PathLike,
    layout: str,
    dtype: "str | keras.DTypePolicy | None" = None,
    progress: Callable[[int, int], object] | None = None,
) -> "tuple[keras_hub.models.XLMRobertaMaskedLM, Tokenizer, bool, Remainder]":
    """Reads a checkpoint. Beside the model, one tensor at a time is in memory.

    Args:
        directory: path of the files.
        layout: `HUGGING_FACE` or `FAIRSEQ` of `infoxlm_keras.conversion.sources`.
        dtype: optional Keras dtype policy of the model.
        progress: optional function that is called with (parameters just read, parameters in all).

    Returns:
        (masked_lm, tokenizer, has_head, remainder): `XLMRobertaMaskedLM`, `Tokenizer`, whether the files hold a
        masked-LM head (else that of `masked_lm` is random), `Remainder`.

    Raises:
        InputError: if the files are damaged, describe another model, or contradict each other.
    """
    directory = pathlib.Path(directory)
    tokenizer = load_tokenizer(directory)
    if layout == FAIRSEQ:
        check_dictionary(directory, tokenizer)
    checkpoint = _open(directory, layout)
    with checkpoint.files:
        has_head = _has_head(checkpoint)
        # The configuration is compared with the files before a model of its sizes is built: a wrong size could exhaust
        # the memory.
        _check(checkpoint, expected_shapes(checkpoint.arguments, has_head))
        _check_rest(checkpoint, {name for name, _ in expected_shapes(checkpoint.arguments, has_head)})
        _check_decoder(checkpoint)
        arguments = {**checkpoint.arguments, "vocabulary_size": _used_rows(checkpoint, tokenizer)}
        masked_lm = _build(arguments, dtype)
        parameters = encoder_parameters(masked_lm.backbone) + (head_parameters(masked_lm) if has_head else [])
        total = sum(parameter.size for parameter in parameters)
        for parameter in parameters:
            parameter.assign(_used(checkpoint, parameter))
            if progress is not None:
                progress(parameter.size, total)
        remainder = _assign_positions(checkpoint, masked_lm.backbone)
    return masked_lm, tokenizer, has_head, remainder


def holds_head(directory: PathLike, layout: str) -> bool:
    """Whether the files of a checkpoint hold a masked-LM head; arguments as in `load_checkpoint`."""
    checkpoint = _open(directory, layout)
    with checkpoint.files:
        return _has_head(checkpoint)


def _open(directory, layout):
    return (open_fairseq if layout == FAIRSEQ else open_huggingface)(directory)


def _has_head(checkpoint):
    return any(name.startswith(HEAD_PREFIX) for name in checkpoint.stored)


def _build(arguments, dtype):
    backbone = keras_hub.models.XLMRobertaBackbone(**arguments, dtype=dtype, name="backbone")
    return keras_hub.models.XLMRobertaMaskedLM(backbone=backbone, preprocessor=None)


def _used_rows(checkpoint, tokenizer):
    """Number of rows of the embedding to keep. Padding rows, which no token uses, are reported and left out."""
    rows = checkpoint.arguments["vocabulary_size"]
    check_added_tokens(checkpoint.directory, tokenizer.vocabulary_size)
    check_same_pieces(checkpoint.directory, tokenizer)
    unused = unused_rows(tokenizer.vocabulary_size, rows)
    if unused:
        print(
            f"note: {checkpoint.directory}: the last {unused} rows of the embedding belong to no token and are left "
            f"out: {tokenizer.vocabulary_size:,} of {rows:,} stay"
        )
        return tokenizer.vocabulary_size
    check_sizes(checkpoint.directory, tokenizer, rows)
    return rows


def _used(checkpoint, parameter):
    array = checkpoint.read(parameter.name)
    if parameter.name in (WORD_EMBEDDINGS, "lm_head.bias"):
        array = array[: parameter.shape[0]]
    return _finite(checkpoint, parameter.name, array)


def _finite(checkpoint, name, array):
    """`array`, the tensor `name`; raises InputError if a value is NaN or infinite."""
    stored = checkpoint.stored[name].name
    check_finite_array(array, stored, checkpoint.files.path(stored))
    return array


def _check(checkpoint, shapes):
    """Raises InputError unless all tensors exist in their shapes; no tensor is read."""
    for name, shape in shapes:
        checkpoint.require(name, shape)
    length, dim = checkpoint.arguments["max_sequence_length"], checkpoint.arguments["hidden_dim"]
    checkpoint.require(POSITIONS, (length + OFFSET, dim))
    if TOKEN_TYPES in checkpoint:
        checkpoint.require(TOKEN_TYPES, (None, dim))


def _check_decoder(checkpoint):
    """Raises InputError unless a stored decoder equals the embedding, to which this model ties it."""
    if DECODER not in checkpoint:
        return
    checkpoint.require(DECODER, checkpoint.shape(WORD_EMBEDDINGS))
    if not np.array_equal(checkpoint.read(DECODER), checkpoint.read(WORD_EMBEDDINGS), equal_nan=True):
        raise InputError(
            f"{checkpoint.directory}: {DECODER} differs from {WORD_EMBEDDINGS}; this masked-LM head is tied to the "
            "embedding, an untied one cannot be converted"
        )


def _check_rest(checkpoint, known):
    """Raises InputError for unknown tensors of the encoder; tensors of other heads are reported and left out."""
    known = {*known, DECODER, POSITIONS, TOKEN_TYPES, *POOLER}
    rest = [name for name in checkpoint.stored if name not in known and not name.startswith(_BUFFERS)]
    inside = [name for name in rest if name.startswith(("encoder.", "embeddings.", "sentence_encoder."))]
    if inside:
        raise InputError(
            f"{checkpoint.directory}: holds {inside[0]}, which XLM-R's encoder does not have (one of {len(inside)} "
            "such tensors); the model would not compute the same"
        )
    if rest:
        names = ", ".join(sorted(rest))
        print(f"warning: {checkpoint.directory}: {names} do not belong to the encoder and are left out")


def _assign_positions(checkpoint, backbone):
    """Fills the positions and returns the `Remainder`."""
    positions = _finite(checkpoint, POSITIONS, checkpoint.read(POSITIONS))
    dim = positions.shape[1]
    has_types = TOKEN_TYPES in checkpoint
    token_types = np.zeros((1, dim), np.float32)
    if has_types:
        token_types = _finite(checkpoint, TOKEN_TYPES, checkpoint.read(TOKEN_TYPES))
    backbone.embeddings.position_embedding.position_embeddings.assign(positions_to_keras(positions, token_types))
    tensors = {POSITIONS: positions, TOKEN_TYPES: token_types}
    if all(name in checkpoint for name in POOLER):
        checkpoint.require(POOLER[0], (dim, dim))
        tensors |= {name: _finite(checkpoint, name, checkpoint.read(name)) for name in POOLER}
    return Remainder(tensors)
