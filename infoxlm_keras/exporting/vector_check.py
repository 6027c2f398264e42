"""Compares the sentence vectors of an exported encoder with those of the Keras model it came from."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array, Tensor
from infoxlm_keras.evaluation.embedding import SPECIAL_TOKENS, batches, pad
from infoxlm_keras.evaluation.retrieval import layer_accuracies, mean_over_languages
from infoxlm_keras.models import hidden_state_model, l2_normalize, pool
from infoxlm_keras.tokenizer import END_ID, START_ID

if TYPE_CHECKING:
    from infoxlm_keras.evaluation.pairs import PairSet
    from infoxlm_keras.models.sentence_vector import SentenceVector
    from infoxlm_keras.pretrained import PretrainedModel

# (token_ids, padding_mask), int32 [batch, length] each, to float32 [batch, dim].
Embed = Callable[[Array, Array], Array]
BATCH_SIZE = 64
# Of float32 sums, relative to the value's size where that is above 1.
TOLERANCE = 1e-5
# Several lengths and scripts; the last is cut to the longest input.
TEXTS = (
    "",
    "No.",
    "The file could not be opened.",
    "Die Datei konnte nicht geöffnet werden, weil der Datenträger fehlt.",
    "Не удалось открыть файл.",
    "फ़ाइल नहीं खोली जा सकी।",
    "无法打开文件。",
    "تعذر فتح الملف.",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "a very long text " * 2000,
)


@dataclasses.dataclass(frozen=True)
class EncoderVectors:
    """The vectors that an export must return.

    Attributes:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        vector: `SentenceVector`.
        dim: int, how many of the pooled state's dimensions are kept.
    """

    model: "PretrainedModel"
    vector: "SentenceVector"
    dim: int

    def keras_model(self) -> keras.Model:
        """`{"token_ids", "padding_mask"}` to vectors, float32 [batch, dim]."""
        inner = hidden_state_model(self.model.backbone, self.vector.layer)
        vectors = self.shortened(pool(inner.output, inner.input["padding_mask"], self.vector.pooling))
        return keras.Model(inner.input, vectors, name="sentence_embedding")

    def shortened(self, pooled: Tensor) -> Tensor:
        """Vectors from pooled states [batch, width]: cut to `dim`, and scaled to unit length if so wished."""
        pooled = pooled[:, : self.dim]
        return l2_normalize(pooled) if self.vector.normalize else pooled

    def sequences(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of `texts`, cut to the longest input, from `<s>` to `</s>`."""
        room = self.vector.max_length - SPECIAL_TOKENS
        return [[START_ID, *token_ids[:room], END_ID] for token_ids in self.model.tokenizer.encode(list(texts))]

    def facts(self) -> dict[str, Any]:
        """The vector in plain values, for a file of facts."""
        return {
            "layer": self.vector.layer,
            "pooling": self.vector.pooling,
            "normalize": self.vector.normalize,
            "dim": self.dim,
            "max_length": self.vector.max_length,
            "tokenizer_fingerprint": self.model.tokenizer.fingerprint,
        }


def largest_difference(vectors: EncoderVectors, embed: Embed, name: str, tolerance: float | None = TOLERANCE) -> float:
    """Compares an export with the Keras model: all of `TEXTS` as one padded batch, and each alone.

    Args:
        vectors: `EncoderVectors`.
        embed: the export.
        name: str, the export's name for messages.
        tolerance: float, largest difference, relative where values are above 1; None: any.

    Returns:
        float, the largest difference of a value.

    Raises:
        RuntimeError: if a value is not finite, or differs by more than `tolerance`.
    """
    sequences = vectors.sequences(TEXTS)
    reference = vectors.keras_model()
    largest = 0.0
    for rows in (sequences, *([sequence] for sequence in sequences)):
        token_ids, padding_mask = pad(rows, max(map(len, rows)))
        expected = ops.convert_to_numpy(reference({"token_ids": token_ids, "padding_mask": padding_mask}))
        found = embed(token_ids, padding_mask)
        if found.shape != expected.shape or not np.isfinite(found).all():
            raise RuntimeError(f"{name}: its vectors are not finite, or {found.shape} for {expected.shape}")
        difference = float(np.abs(found - expected).max())
        if tolerance is not None and not np.allclose(found, expected, rtol=tolerance, atol=tolerance):
            raise RuntimeError(f"{name}: its vectors differ from the Keras model's by {difference:.2e}")
        largest = max(largest, difference)
    return largest


def retrieval_accuracy(
    vectors: EncoderVectors, embed: Embed, pair_sets: "Sequence[PairSet]", progress: Callable[[int], object]
) -> float:
    """Mean accuracy of an export over languages and directions, by cosine.

    Args:
        vectors: `EncoderVectors`.
        embed: the export, or the Keras model.
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`.
        progress: function that is called with the number of texts just embedded.

    Returns:
        float in 0..1.
    """
    languages = {}
    for pair_set in pair_sets:
        sides = [embed_texts(vectors, embed, texts, progress) for texts in (pair_set.sources, pair_set.targets)]
        languages[pair_set.language] = layer_accuracies(*(side[None] for side in sides))
    return float(np.mean(list(mean_over_languages(languages).values())))


def embed_texts(
    vectors: EncoderVectors, embed: Embed, texts: Sequence[str], progress: Callable[[int], object]
) -> Array:
    """Vectors of `texts`, float32 [texts, dim]; a batch holds texts of like length."""
    sequences = vectors.sequences(texts)
    found = np.empty((len(texts), vectors.dim), np.float32)
    order = sorted(range(len(texts)), key=lambda row: len(sequences[row]))
    for rows in batches(order, BATCH_SIZE):
        found[rows] = embed(*pad([sequences[row] for row in rows], len(sequences[rows[-1]])))
        progress(len(rows))
    return found
