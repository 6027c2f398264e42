"""Writes a model as a preset of KerasHub's embedder task, without the layers above the universal layer.

(The masked-LM preset is `infoxlm_keras.pretrained.write_preset`.)
"""

from typing import TYPE_CHECKING

import keras_hub

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.models.sentence_vector import truncated_info
from infoxlm_keras.pretrained import PretrainingInfo, write_info

if TYPE_CHECKING:
    from infoxlm_keras.models.sentence_vector import SentenceVector
    from infoxlm_keras.pretrained import PretrainedModel


def write_embedder_preset(directory: PathLike, model: "PretrainedModel", vector: "SentenceVector") -> None:
    """Writes a preset that `keras_hub.models.XLMRobertaTextEmbedder.from_preset` opens.

    Args:
        directory: path that exists.
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `infoxlm_keras.models.sentence_vector.SentenceVector`.
    """
    preprocessor = keras_hub.models.XLMRobertaTextEmbedderPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=model.tokenizer.proto),
        sequence_length=vector.max_length,
    )
    embedder = keras_hub.models.XLMRobertaTextEmbedder(
        backbone=truncated_backbone(model.backbone, vector.layer),
        preprocessor=preprocessor,
        pooling_mode=vector.pooling,
        normalize=vector.normalize,
    )
    check_room(directory, embedder, embedder.backbone)
    embedder.save_to_preset(str(directory))
    fingerprint = model.tokenizer.fingerprint
    info = model.info or PretrainingInfo(vector.layer, tokenizer_fingerprint=fingerprint, max_length=vector.max_length)
    write_info(directory, truncated_info(info, vector))


def truncated_backbone(
    backbone: keras_hub.models.XLMRobertaBackbone, num_layers: int
) -> keras_hub.models.XLMRobertaBackbone:
    """A copy of the first `num_layers` Transformer layers, with separate weights."""
    copy = keras_hub.models.XLMRobertaBackbone.from_config({**backbone.get_config(), "num_layers": num_layers})
    # Weights are listed in the order of the layers, embeddings first.
    copy.set_weights(backbone.get_weights()[: len(copy.weights)])
    return copy
