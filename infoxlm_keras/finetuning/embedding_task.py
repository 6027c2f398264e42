"""The training of a sentence encoder: each query chooses its document among all documents of the update.

The loss of a sample depends on all others, whatever micro-batch or replica they are in. The vectors of the whole
update are computed without gradient first. Then each micro-batch takes the derivative of the update's loss by its own
vectors, and so by the weights (gradient caching: Gao et al. 2021, https://arxiv.org/abs/2101.06983). The sum of these
gradients is that of one large batch, and the activations of one micro-batch are held at a time.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.finetuning.head_task import HeadTask
from infoxlm_keras.losses.false_negatives import contrast_candidates, without_false_negatives
from infoxlm_keras.losses.matryoshka import truncated
from infoxlm_keras.losses.sentence_contrast import sentence_contrast
from infoxlm_keras.losses.teacher_distance import teacher_distance
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import TRAINED, Number, contrast_flops, encoder_flops
from infoxlm_keras.models.sentence_vector_model import sentence_vector_model
from infoxlm_keras.tasks.pretext_task import PretextTask, SharedTensors, TaskResult

# What the loss of an update needs beside the vectors, where a batch has it.
OF_SAMPLES = ("weights", "right_text", "document_text", "teacher", "guide_query", "guide_document")


@dataclasses.dataclass(frozen=True)
class UpdateLoss:
    """The loss of each sample of an update, as a function of all their vectors.

    Attributes:
        temperature, both_directions: see `infoxlm_keras.losses.sentence_contrast`.
        dimensions: sequence of int, the shorter vectors that are trained as well. The contrast is the mean over them
            and the whole vector.
        margin: float or None, see `infoxlm_keras.losses.false_negatives.without_false_negatives`; None: never.
        contrast_weight, teacher_weight: float >= 0.
    """

    temperature: float = 0.05
    both_directions: bool = True
    dimensions: Sequence[int] = ()
    margin: float | None = None
    contrast_weight: float = 1.0
    teacher_weight: float = 0.0

    def __call__(self, update: Tensors) -> tuple[Tensor, Tensor]:
        """(losses, correct), float32 [samples] each.

        Args:
            update: `queries`, float32 [samples, dim], and `documents`, float32 [samples, 1 + negatives, dim], of unit
                length; of a query's documents the first is the right one. And of `OF_SAMPLES` what there is:
                `weights`, float32 [samples]; `document_text`, int [samples, 1 + negatives], equal numbers for equal
                texts, and `right_text`, int [samples, r], those that are right for the query, or -1; `teacher`,
                float32 [samples, dim]; `guide_query`, float32 [samples, dim of the guide], and `guide_document`,
                float32 [samples, 1 + negatives, dim of the guide].
        """
        queries, documents = update["queries"], _first_ones_first(update["documents"])
        candidates = self.candidates(update)
        losses, correct = ops.zeros_like(update["weights"]), None
        widths = [queries.shape[-1], *self.dimensions]
        for width in widths:
            contrast = sentence_contrast(
                truncated(queries, width),
                truncated(documents, width),
                candidates,
                self.temperature,
                self.both_directions,
            )
            losses = losses + contrast.losses * (self.contrast_weight / len(widths))
            correct = contrast.correct if correct is None else correct
        if self.teacher_weight:
            distances = teacher_distance(queries, update["documents"][:, 0], update["teacher"])
            losses = losses + self.teacher_weight * distances
        return losses, correct

    def candidates(self, update: Tensors) -> Tensor:
        """bool [samples, documents of all samples], see `infoxlm_keras.losses.false_negatives`."""
        texts = _first_ones_first(update["document_text"])
        ones = ops.ones_like(update["document_text"])
        present = _first_ones_first(ones * ops.cast(update["weights"] > 0, ones.dtype)[:, None]) > 0
        candidates = contrast_candidates(update["right_text"], texts, present)
        if self.margin is None:
            return candidates
        own = "guide_query" not in update
        queries = update["queries" if own else "guide_query"]
        documents = _first_ones_first(update["documents" if own else "guide_document"])
        return without_false_negatives(candidates, queries, documents, self.margin)


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class EmbeddingTask(PretextTask):
    """The training of sentence vectors. The loss of an update is the weighted mean of its samples' losses.

    Batch: `query_token_ids` and `query_padding_mask`, int32 [batch, length]; `document_token_ids` and
    `document_padding_mask`, int32 [batch, 1 + negatives, length]; and what `UpdateLoss` takes beside the vectors.

    Args:
        loss: `UpdateLoss`; None: with its defaults.
        layer: int in 1..L, the hidden state that is pooled; None: the last.
        pooling: "cls", "mean" or "max".
    """

    task_name = HeadTask.task_name
    label = HeadTask.label
    bounds_information = False
    console_numbers = HeadTask.console_numbers

    def __init__(
        self, loss: UpdateLoss | None = None, layer: int | None = None, pooling: str = "mean", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.update_loss = UpdateLoss() if loss is None else loss
        self.layer: Any = layer  # `bind` replaces None by an int
        self.pooling = pooling

    def get_config(self) -> dict[str, Any]:
        own = {"loss": dataclasses.asdict(self.update_loss), "layer": self.layer, "pooling": self.pooling}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "EmbeddingTask":
        return cls(**{**config, "loss": UpdateLoss(**config["loss"])})

    def bind(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.layer = encoder.backbone.num_layers if self.layer is None else self.layer
        self.vector_model = sentence_vector_model(encoder.backbone, self.layer, self.pooling)
        self.built = True

    def sentence_vector(self) -> tuple[int, str, bool]:
        return self.layer, self.pooling, True

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(batch["weights"])

    def gathered(self, batch: Tensors, training: bool) -> Tensors:
        """The vectors of a micro-batch, with what else of its samples the loss of the update needs."""
        ids, mask = batch["document_token_ids"], batch["document_padding_mask"]
        _, documents, length = ops.shape(ids)
        queries = self._vectors(batch["query_token_ids"], batch["query_padding_mask"], training)
        flat = self._vectors(ops.reshape(ids, (-1, length)), ops.reshape(mask, (-1, length)), training)
        vectors = {"queries": queries, "documents": ops.reshape(flat, (-1, documents, flat.shape[-1]))}
        return {**vectors, **{name: batch[name] for name in OF_SAMPLES if name in batch}}

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        own = self.gathered(batch, training)
        update = own if shared is None else _with_own_rows(shared, own)
        losses, correct = self.update_loss(update)
        weights = update["weights"]
        loss_sum = ops.sum(weights * losses)
        if shared is not None:
            # The value is that of the own samples; the derivative is that of the whole loss by their vectors.
            rows = shared.first_row + ops.arange(ops.shape(batch["weights"])[0])
            own_sum = ops.sum(batch["weights"] * ops.take(losses, rows, axis=0))
            loss_sum = ops.stop_gradient(own_sum) + loss_sum - ops.stop_gradient(loss_sum)
            correct = ops.take(correct, rows, axis=0)
        return TaskResult(
            loss_sum=loss_sum,
            count=self.count(batch),
            correct_sum=ops.sum(batch["weights"] * ops.stop_gradient(correct)),
            num_candidates=ops.ones((), "float32"),
        )

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """The encoder up to the pooled layer on queries and documents, and their contrast.

        Once each: what is computed again, so that an update fits the memory, is not counted.
        """
        backbone = self.encoder.backbone
        samples, documents, length = shapes["document_token_ids"]
        of_queries = encoder_flops(backbone, self.layer, *shapes["query_token_ids"])
        of_documents = encoder_flops(backbone, self.layer, samples * documents, length)
        widths = sum([backbone.hidden_dim, *self.update_loss.dimensions])
        return TRAINED * (of_queries + of_documents + contrast_flops(widths, samples, samples * documents))

    def _vectors(self, token_ids, padding_mask, training):
        return self.vector_model({"token_ids": token_ids, "padding_mask": padding_mask}, training=training)


def _first_ones_first(documents):
    """[samples, 1 + n, ...] as [samples * (1 + n), ...]: the first of each sample, then all others."""
    first, others = documents[:, 0], documents[:, 1:]
    return ops.concatenate([first, ops.reshape(others, (-1, *documents.shape[2:]))], axis=0)


def _with_own_rows(shared, own):
    """The tensors of the update, in which the own vectors have a gradient."""
    update = dict(shared.tensors)
    for name in ("queries", "documents"):
        own_rows, rows = ops.shape(own[name])[0], ops.arange(ops.shape(update[name])[0]) - shared.first_row
        inside = ops.logical_and(rows >= 0, rows < own_rows)
        inside = ops.reshape(inside, (-1, *(1 for _ in update[name].shape[1:])))
        placed = ops.take(own[name], ops.clip(rows, 0, own_rows - 1), axis=0)
        update[name] = ops.where(inside, placed, ops.stop_gradient(update[name]))
    return update
