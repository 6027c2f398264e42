"""The sentence-vector head: the universal layer, pooled, and scaled as the model was trained."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, PathLike, Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.models import hidden_state_model, l2_normalize, pool
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.pretrained.prompts import side_prompts
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.text_to_ids import TextToIds
from infoxlm_keras.serving.vector_types import check_vector_type, quantize

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.serving.packed_sequences import PackedSequences


class EmbeddingModule(ServingModule):
    """Text to `embedding`, float32 [batch, dim]; holds and computes Transformer layers 1..`layer` only.

    With `vectors` "int8" `embedding` is int8 [batch, dim], with "binary" uint8 [batch, dim / 8], see `vector_types`.
    A third signature, `similarity`, takes `text_a` and `text_b`, string [batch] each, and returns `similarity`,
    float32 [batch]: the cosine of row n of both, from the vectors in float32 whatever `vectors` is. If the model has
    prompts for queries and documents, the signatures `query` and `document` take `text` and put them before it; the
    others take a text as it is.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        layer: int in 0..L, hidden state to pool (0 = embeddings). None: the universal layer the model was
            trained with, or the usual one for its depth if it was not trained here.
        pooling: one of `POOLINGS`. None: as trained, else "mean".
        normalize: bool, scale to unit length. None: as the model's history says (`PretrainingInfo.normalize`), else
            True.
        max_length: int, longest sequence in tokens; None: as the model's history says, or as many as the
            model has positions.
        storage: one of `STORAGES`, how weights are stored.
        dimensions: int in 1..width, only the first dimensions of the pooled state, which are then what is scaled
            (Matryoshka representations, Kusupati et al., 2022); None: all.
        vectors: one of `infoxlm_keras.choices.VECTOR_TYPES`, the type of `embedding`; None: "float32".

    Raises:
        InputError: if `layer`, `pooling`, `max_length`, `storage` or `dimensions` is out of range, or `vectors` does
            not fit the vectors.
    """

    head = "embedding"
    pair_signature = ("similarity", "text_a", "text_b")

    def __init__(
        self,
        model: "PretrainedModel",
        layer: int | None = None,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_length: int | None = None,
        storage: str = "float32",
        dimensions: int | None = None,
        vectors: str | None = None,
    ) -> None:
        backbone = model.backbone
        self.dim = resolve_dimensions(dimensions, backbone.hidden_dim)
        self.vectors = vectors or "float32"
        vector = sentence_vector(model, layer, pooling, normalize, max_length, lowest=0)
        check_vector_type(self.vectors, self.dim, vector.normalize)
        text_to_ids = TextToIds(model.tokenizer, resolve_max_length(vector.max_length, backbone))
        reference = hidden_state_model(backbone, vector.layer)
        super().__init__(text_to_ids, backbone, vector.layer, reference, storage, name="embedding")
        self.layer, self.pooling, self.normalize = vector.layer, vector.pooling, vector.normalize
        self.prompts = side_prompts(model.info)

    def outputs(self, packed: "PackedSequences", states: Tensor) -> dict[str, Tensor]:
        pooled = {"cls": packed.first, "mean": packed.mean, "max": packed.max}[self.pooling]
        return {"embedding": self._shortened(pooled(states))}

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        hidden_state = self._model({"token_ids": token_ids, "padding_mask": padding_mask})
        return {"embedding": self._shortened(pool(hidden_state, padding_mask, self.pooling))}

    def returned(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"embedding": quantize(outputs["embedding"], self.vectors)}

    def pair_outputs(
        self, first: Tensor, second: Tensor, predict: Callable[[Tensor, Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        batch, both = tf.shape(first)[0], tf.concat([first, second], axis=0)
        vectors = l2_normalize(predict(*self.text_to_ids(both))["embedding"])
        return {"similarity": tf.reduce_sum(vectors[:batch] * vectors[batch:], axis=-1)}

    def head_facts(self) -> dict[str, Any]:
        facts = {
            "layer": self.layer,
            "pooling": self.pooling,
            "normalize": self.normalize,
            "dim": self.dim,
            "vectors": self.vectors,
        }
        return {**facts, "prompts": dict(self.prompts)} if self.prompts else facts

    def signatures(self) -> dict[str, Callable[..., Any]]:
        prompted = {name: self._text_signature(name, prompt) for name, prompt in self.prompts.items()}
        return {**super().signatures(), **prompted}

    def requests(self, texts: list[bytes], token_ids: Array, padding_mask: Array) -> dict[str, dict[str, Any]]:
        prompted = {name: {"text": texts} for name in self.prompts}
        return {**super().requests(texts, token_ids, padding_mask), **prompted}

    def answers(
        self,
        texts: list[bytes],
        token_ids: Array,
        padding_mask: Array,
        predict: Callable[[Tensor, Tensor], dict[str, Tensor]],
    ) -> dict[str, dict[str, Tensor]]:
        prompted = {
            name: predict(*self.text_to_ids(tf.constant([prompt.encode() + text for text in texts])))
            for name, prompt in self.prompts.items()
        }
        return {**super().answers(texts, token_ids, padding_mask, predict), **prompted}

    def _shortened(self, vectors):
        vectors = vectors[:, : self.dim]
        return l2_normalize(vectors) if self.normalize else vectors


def resolve_dimensions(dimensions: int | None, width: int) -> int:
    """`dimensions`, or `width` for None.

    Raises:
        InputError: if `dimensions` is not in 1..`width`.
    """
    if dimensions is None:
        return width
    if not 1 <= dimensions <= width:
        raise InputError(f"dimensions = {dimensions}: the model's vectors have {width}; give 1..{width}")
    return dimensions


def load_embedding(source: PathLike, **settings: Any) -> "tuple[EmbeddingModule, PretrainedModel]":
    """The head and the model of the preset `source`, see `infoxlm_keras.serving.heads.registry.load_head`."""
    from infoxlm_keras.pretrained import load_pretrained

    model = load_pretrained(source, dtype="float32")
    return EmbeddingModule(model, **settings), model


def cosines(vectors: Array, others: Array) -> Array:
    """Cosine of each row of two float arrays [rows, dim]."""
    products = np.sum(vectors * others, axis=-1)
    return products / (np.linalg.norm(vectors, axis=-1) * np.linalg.norm(others, axis=-1))
