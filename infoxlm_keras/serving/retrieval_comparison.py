"""Compares the retrieval accuracy of a Keras model and of its SavedModel."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, PathLike, Tensor
from infoxlm_keras.evaluation import evaluate_retrieval
from infoxlm_keras.evaluation.retrieval import layer_accuracies, mean_over_languages
from infoxlm_keras.serving.saved_model import load_saved_model
from infoxlm_keras.serving.vector_types import dequantize, with_equal_norms

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.pairs import PairSet
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.serving.heads.embedding import EmbeddingModule

BATCH_SIZE = 64


def compare_retrieval(
    module: "EmbeddingModule",
    model: "PretrainedModel",
    directory: PathLike,
    pair_sets: "Sequence[PairSet]",
    progress: Callable[[int], object] | None = None,
) -> dict[str, dict[str, Any]]:
    """Retrieval accuracy of both on the same pairs.

    The Keras model's is that of its whole float32 vectors, by cosine. int8 vectors are compared by their dot product,
    bits by their Hamming distance.

    Args:
        module: `EmbeddingModule` that was exported.
        model: the `PretrainedModel` it came from.
        directory: path of the SavedModel.
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`.
        progress: optional function that is called with the number of texts just embedded.

    Returns:
        {"keras": ..., "export": ...}, each a result of `evaluate_retrieval` for the module's layer only.
    """
    of_keras = evaluate_retrieval(
        model.backbone,
        model.tokenizer,
        pair_sets,
        [module.layer],
        module.pooling,
        max_length=module.text_to_ids.max_length,
        progress=progress,
    )
    signature = load_saved_model(directory).signatures["serving_default"]
    languages = {}
    for pair_set in pair_sets:
        sources, targets = (embed(signature, texts, progress) for texts in (pair_set.sources, pair_set.targets))
        if module.vectors == "int8":
            sources, targets = with_equal_norms(sources, targets)
        languages[pair_set.language] = layer_accuracies(sources[None], targets[None])
    exported = {"layers": [module.layer], "languages": languages, "mean": mean_over_languages(languages)}
    return {"keras": of_keras, "export": exported}


def embed(
    signature: Callable[..., dict[str, Tensor]], texts: Sequence[str], progress: Callable[[int], object] | None = None
) -> Array:
    """Vectors of `texts` (list of str) by a SavedModel's `serving_default`, as `dequantize` gives them."""
    parts = []
    for start in range(0, len(texts), BATCH_SIZE):
        batch = [text.encode() for text in texts[start : start + BATCH_SIZE]]
        parts.append(signature(text=tf.constant(batch, tf.string))["embedding"].numpy())
        if progress is not None:
            progress(len(batch))
    return dequantize(np.concatenate(parts))
