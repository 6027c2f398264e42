"""What the exports of the sentence encoder to ONNX and LiteRT share."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from infoxlm_keras.choices import EXPORT_PRECISIONS
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import SPECIAL_TOKENS
from infoxlm_keras.exporting.vector_check import EncoderVectors
from infoxlm_keras.models.sentence_vector import sentence_vector

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel


@dataclasses.dataclass(frozen=True)
class EncoderExport:
    """The result of an export.

    Attributes:
        directory: path of the folder.
        vectors: `EncoderVectors`, what it returns.
        facts: dict, the content of its file of facts.
        size: int, bytes of the model's files.
        max_difference: float, largest difference of a value from the Keras model's.
    """

    directory: pathlib.Path
    vectors: EncoderVectors
    facts: dict[str, Any]
    size: int
    max_difference: float


def check_precision(precision: str) -> None:
    """Raises InputError unless `precision` is one of `EXPORT_PRECISIONS`."""
    if precision not in EXPORT_PRECISIONS:
        raise InputError(f"precision = {precision!r}: must be one of {', '.join(EXPORT_PRECISIONS)}")


def encoder_vectors(
    model: "PretrainedModel",
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    dimensions: int | None = None,
) -> EncoderVectors:
    """The `EncoderVectors` of a model; arguments as of `export_onnx`.

    Raises:
        InputError: if a value is out of range.
    """
    vector = sentence_vector(model, layer, pooling, normalize, max_length, lowest=0)
    width, positions = model.backbone.hidden_dim, model.backbone.max_sequence_length
    if not SPECIAL_TOKENS < vector.max_length <= positions:
        raise InputError(
            f"max_length = {vector.max_length}: must be in {SPECIAL_TOKENS + 1}..{positions}, the model's positions"
        )
    if dimensions is not None and not 1 <= dimensions <= width:
        raise InputError(f"dimensions = {dimensions}: the model's vectors have {width}; give 1..{width}")
    return EncoderVectors(model, vector, dimensions or width)
