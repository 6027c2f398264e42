"""Which vector stands for a sentence in an exported model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, overload

from infoxlm_keras.errors import InputError
from infoxlm_keras.models import default_universal_layer
from infoxlm_keras.models.encoder import check_layer
from infoxlm_keras.models.pooling import check_pooling

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
    from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


@dataclasses.dataclass(frozen=True)
class SentenceVector:
    """Hidden state `layer` (0..L), pooled ("cls", "mean" or "max"), scaled to unit length if `normalize`.

    Hidden state 0 is the embeddings' output. A text is cut to `max_length` tokens, `<s>` and `</s>` included.

    It is the vector that the SavedModel of infoxlm export-savedmodel gives: XLCO's projection is left out, as in
    the published evaluation.
    """

    layer: int
    pooling: str
    normalize: bool
    max_length: int


def default_sentence_vector(num_layers: int) -> tuple[int, str, bool]:
    """(hidden state, pooling, normalize) of an encoder of `num_layers` (int) without trained contrast."""
    return default_universal_layer(num_layers), "mean", True


def trained_sentence_vector(pretrainer: InfoXLMPretrainer) -> tuple[int, str, bool]:
    """(hidden state, pooling, normalize) that the tasks of `pretrainer` train, else those of the default."""
    for task in pretrainer.tasks:
        vector = task.sentence_vector()
        if vector is not None:
            return vector
    return default_sentence_vector(pretrainer.backbone.num_layers)


def sentence_vector(
    model: PretrainedModel,
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    lowest: int = 1,
) -> SentenceVector:
    """The `SentenceVector` of a model.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        layer: int; None: the universal layer it was trained with, or the usual one for its depth. Of a
            sentence-transformers folder it is the last.
        pooling: "cls", "mean" or "max"; None: as trained, else "mean".
        normalize: bool; None: as the model's history says, else True.
        max_length: int; None: as the model's history says, else all positions.
        lowest: int, the lowest layer that is allowed.

    Raises:
        InputError: if a value is out of range; if the model comes from a sentence-transformers folder whose own vector
            cannot be expressed and `pooling` does not say what to give in its place.
    """
    info = model.info
    if pooling is None:
        pooling = model_pooling(info)
    default_layer, _, default_normalize = default_sentence_vector(model.backbone.num_layers)
    if layer is None:
        layer = info.universal_layer if info else default_layer
    if normalize is None:
        normalize = info.normalize if info else default_normalize
    check_layer(layer, model.backbone.num_layers, lowest)
    check_pooling(pooling)
    return SentenceVector(layer, pooling, normalize, model_max_length(model, max_length))


def model_pooling(info: PretrainingInfo | None) -> str:
    """The pooling of a model whose history is `info` (`PretrainingInfo` or None).

    Raises:
        InputError: if the model's own vector is one that cannot be expressed.
    """
    if info is None:
        return "mean"
    if info.vector_refusal:
        raise InputError(
            f"{info.vector_refusal}; the sentence vector of this model would be another one: give --pooling to have "
            "its encoder's hidden states pooled anyway"
        )
    return info.pooling


def model_max_length(model: PretrainedModel, max_length: int | None = None) -> int:
    """`max_length`, or for None what the history of `model` says, or all positions of its encoder."""
    if max_length is not None:
        return max_length
    positions = model.backbone.max_sequence_length
    own = model.info.max_length if model.info else None
    return positions if own is None else min(own, positions)


@overload
def truncated_info(info: PretrainingInfo, vector: SentenceVector) -> PretrainingInfo: ...
@overload
def truncated_info(info: None, vector: SentenceVector) -> None: ...
def truncated_info(info: PretrainingInfo | None, vector: SentenceVector) -> PretrainingInfo | None:
    """`PretrainingInfo` of a model that was cut above `vector.layer`; None stays None."""
    if info is None:
        return None
    return dataclasses.replace(
        info,
        universal_layer=vector.layer,
        kept_layers=info.kept_layers[: vector.layer],
        pooling=vector.pooling,
        normalize=vector.normalize,
        # The vector is one that was asked for.
        vector_refusal="",
    )
