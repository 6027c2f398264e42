"""Converts learned positions, and keeps the tensors of Hugging Face's files that the encoder cannot hold.

Hugging Face and fairseq number positions from `<pad>`'s id + 1 = 2, so their table has two more rows than the encoder
has positions: 514 for 512. Hugging Face also adds a token-type embedding, whose row 0 applies to every token; we add
this row to the positions. A `Remainder` keeps what this conversion loses: the two rows, the two terms of the sum, and
the pooler, which only heads like next-sentence prediction read. If the model is not trained in between, the conversion
back therefore restores every bit.
"""

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.conversion.tensor_files import TensorFiles, save_file
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import keras_hub

OFFSET = 2
POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
FILE_NAME = "huggingface.safetensors"


@dataclasses.dataclass(frozen=True)
class Remainder:
    """The tensors of a Hugging Face checkpoint that the encoder cannot hold.

    Attributes:
        tensors: dict of name to array: `POSITIONS` and `TOKEN_TYPES` unchanged, and `POOLER` if the checkpoint has
            one.
    """

    tensors: dict[str, Array]

    @property
    def has_pooler(self) -> bool:
        """Whether the pooler is among the tensors."""
        return POOLER[0] in self.tensors

    def without_pooler(self) -> "Remainder":
        """The other tensors."""
        return Remainder({name: tensor for name, tensor in self.tensors.items() if name not in POOLER})


def positions_to_keras(positions: Array, token_types: Array | None) -> Array:
    """The encoder's positions.

    Args:
        positions: float [length + 2, dim].
        token_types: float [types, dim], or None.

    Returns:
        float32 [length, dim].
    """
    rows = positions[OFFSET:].astype(np.float32)
    # If the token types are zero, as in XLM-R itself, adding them would still change -0.0 to 0.0.
    if token_types is not None and np.any(token_types[0]):
        rows = rows + token_types[0].astype(np.float32)
    return rows


def positions_from_keras(
    backbone: "keras_hub.models.XLMRobertaBackbone", remainder: Remainder | None = None
) -> dict[str, Array]:
    """The tables that Hugging Face's files need.

    Args:
        backbone: `XLMRobertaBackbone`.
        remainder: optional `Remainder` of the files that the backbone came from.

    Returns:
        dict of `POSITIONS` to float32 [length + 2, dim] and `TOKEN_TYPES` to float32 [types, dim]: the
        tables of `remainder` if the backbone's positions still are their sum, else the backbone's positions with zero
        rows in front and zero token types.
    """
    rows = ops.convert_to_numpy(backbone.embeddings.position_embedding.position_embeddings).astype(np.float32)
    types = 1
    if remainder is not None:
        positions, token_types = remainder.tensors[POSITIONS], remainder.tensors[TOKEN_TYPES]
        if np.array_equal(positions_to_keras(positions, token_types), rows):
            return {POSITIONS: positions, TOKEN_TYPES: token_types}
        types = len(token_types)
    unused = np.zeros((OFFSET, rows.shape[1]), np.float32)
    return {POSITIONS: np.concatenate([unused, rows]), TOKEN_TYPES: np.zeros((types, rows.shape[1]), np.float32)}


def save_remainder(directory: PathLike, remainder: Remainder) -> None:
    """Writes `remainder` beside a preset, into `huggingface.safetensors`."""
    arrays = {name: np.ascontiguousarray(array) for name, array in remainder.tensors.items()}
    save_file(pathlib.Path(directory) / FILE_NAME, arrays)


def load_remainder(directory: PathLike, backbone: "keras_hub.models.XLMRobertaBackbone") -> Remainder | None:
    """The `Remainder` beside the preset of `backbone` (an `XLMRobertaBackbone`), or None.

    Raises:
        InputError: if the file is damaged, or its tensors are those of an encoder of another size.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not os.path.lexists(path):
        return None
    dim = backbone.hidden_dim
    shapes = {
        POSITIONS: (backbone.max_sequence_length + OFFSET, dim),
        TOKEN_TYPES: (None, dim),
        POOLER[0]: (dim, dim),
        POOLER[1]: (dim,),
    }
    with TensorFiles([path]) as files:
        for name in files.names:
            shape = files.shape(name)
            want = shapes.get(name)
            if want is None or len(shape) != len(want) or (want[0] or shape[0], *want[1:]) != shape or not shape[0]:
                raise InputError(
                    f"{path}: holds {name} of shape {shape}, which does not belong to this encoder; remove the "
                    "file to continue without it"
                )
        tensors = {name: files.read(name) for name in files.names}
    if not {POSITIONS, TOKEN_TYPES} <= set(tensors) or (POOLER[0] in tensors) != (POOLER[1] in tensors):
        raise InputError(f"{path}: lacks tensors; remove the file to continue without it")
    return Remainder(tensors)
