"""Which vector stands for a sentence in an exported model."""

import dataclasses

from infoxlm_keras.models import default_universal_layer
from infoxlm_keras.models.encoder import check_layer
from infoxlm_keras.models.pooling import check_pooling


@dataclasses.dataclass(frozen=True)
class SentenceVector:
    """Hidden state `layer` (1..L), pooled ("cls" or "mean"), scaled to unit length if `normalize`.

    It is the vector that the SavedModel of recipes/export_savedmodel.py gives: XLCO's projection is left out, as in
    the published evaluation.
    """

    layer: int
    pooling: str
    normalize: bool = True


def sentence_vector(model, layer=None, pooling=None, normalize=True):
    """The `SentenceVector` of a model.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        layer: int; None: the universal layer it was trained with, or the usual one for its depth.
        pooling: "cls" or "mean"; None: as trained, else "mean".
        normalize: bool.

    Raises:
        InputError: if a value is out of range.
    """
    if layer is None:
        layer = model.info.universal_layer if model.info else default_universal_layer(model.backbone.num_layers)
    if pooling is None:
        pooling = model.info.pooling if model.info else "mean"
    check_layer(layer, model.backbone.num_layers)
    check_pooling(pooling)
    return SentenceVector(layer, pooling, normalize)


def truncated_info(info, vector):
    """`PretrainingInfo` of a model that was cut above `vector.layer`; None stays None."""
    if info is None:
        return None
    return dataclasses.replace(info, universal_layer=vector.layer, pooling=vector.pooling, normalize=vector.normalize)
