"""MMLM and TLM: masked-language modelling on monolingual text and on translation pairs."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.chunked_masked_lm import chunked_masked_lm_loss, vocabulary_chunk
from infoxlm_keras.losses.masked_lm import masked_lm_features, masked_lm_logits, masked_lm_loss
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import TRAINED, Number, encoder_flops, masked_lm_head_flops
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.settings import TaskSettings
from infoxlm_keras.tasks.pretext_task import PretextTask, SampleLengths, SharedTensors, TaskResult

# 2^27 logits are half a gigabyte in float32.
MAX_LOGITS = 1 << 27


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class MaskedLanguageModeling(PretextTask):
    """Predict the masked tokens of a sequence from all its other tokens.

    Batch: `token_ids`, `padding_mask` int32 [batch, length]; `mask_positions`, `mask_ids` int32 and `mask_weights`
    float32 [batch, predictions]. Loss: cross-entropy over the vocabulary, which bounds the mutual information of
    a token and its context with N = vocabulary size candidates (InfoXLM, section 3).

    Args:
        max_logits: int > 0, logits held at once; where predictions times vocabulary exceed it, loss and gradient are
            computed in chunks of the vocabulary.
        weight: float, the task's factor in the loss.
    """

    def __init__(self, max_logits: int = MAX_LOGITS, weight: float = 1.0, **kwargs: Any) -> None:
        super().__init__(weight=weight, **kwargs)
        if max_logits < 1:
            raise InputError(f"{self.task_name}.max_logits = {max_logits}: must be at least 1")
        self.max_logits = max_logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "max_logits": self.max_logits}

    @classmethod
    def batch_shapes(
        cls, settings: TaskSettings, samples: int, lengths: SampleLengths, masking: Masking
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        length = cls.sequence_length(lengths)
        tokens, predictions = (samples, length), (samples, masking.predictions(length))
        return {
            **dict.fromkeys(("token_ids", "padding_mask"), (tokens, "int32")),
            **dict.fromkeys(("mask_positions", "mask_ids"), (predictions, "int32")),
            "mask_weights": (predictions, "float32"),
        }

    @classmethod
    def sequence_length(cls, lengths: SampleLengths) -> int:
        """int: tokens of a sequence of this task."""
        raise NotImplementedError

    def bind(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.built = True

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(batch["mask_weights"])

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """All layers, and the head on the masked positions (unused slots included)."""
        backbone = self.encoder.backbone
        (samples, length), (_, predictions) = shapes["token_ids"], shapes["mask_positions"]
        forward = encoder_flops(backbone, backbone.num_layers, samples, length)
        return TRAINED * (forward + masked_lm_head_flops(backbone, samples * predictions))

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        hidden_state = self.encoder.hidden_state(inputs, training=training)  # [batch, length, dim]
        loss = self._loss(hidden_state, batch, training)
        return TaskResult(
            loss_sum=loss.loss_sum,
            count=self.count(batch),
            correct_sum=loss.correct_sum,
            num_candidates=ops.cast(self.encoder.backbone.vocabulary_size, "float32"),
        )

    def vocabulary_chunk(self, positions: Tensor) -> int | None:
        """int: pieces whose logits are held at once, for predictions at `positions`; None: all of them."""
        vocabulary_size = self.encoder.backbone.vocabulary_size
        static = None not in tuple(positions.shape)
        predictions = positions.shape[0] * positions.shape[1] if static else 0
        chunk = vocabulary_chunk(predictions, vocabulary_size, self.max_logits)
        return None if chunk == vocabulary_size else chunk

    def _loss(self, hidden_state, batch, training):
        masked_lm, positions = self.encoder.masked_lm, batch["mask_positions"]
        ids, weights = (ops.reshape(batch[name], (-1,)) for name in ("mask_ids", "mask_weights"))
        chunk = self.vocabulary_chunk(positions)
        if chunk is None and keras.backend.backend() == "torch":
            # One chunk: what Keras makes of the plain formula there takes three times the memory of the logits.
            chunk = self.encoder.backbone.vocabulary_size
        if chunk is None:
            return masked_lm_loss(masked_lm_logits(masked_lm, hidden_state, positions), ids, weights)
        return chunked_masked_lm_loss(
            masked_lm_features(masked_lm, hidden_state, positions),
            ops.convert_to_tensor(self.encoder.backbone.token_embedding.embeddings),
            ops.convert_to_tensor(masked_lm.masked_lm_head._bias),
            ids,
            weights,
            chunk,
            training,
        )


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class MMLM(MaskedLanguageModeling):
    """Multilingual masked LM: blocks of one language, `<s> s1 </s> s2 </s> ...`."""

    task_name = "mmlm"
    label = "MMLM"
    record_kind = "mmlm"

    @classmethod
    def sequence_length(cls, lengths: SampleLengths) -> int:
        return lengths.block

    @classmethod
    def stream(
        cls, settings: TaskSettings, manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        from infoxlm_keras.data.streams import MonolingualStream

        return MonolingualStream(manifest, batch_size, **common)

    @classmethod
    def longest_sequence(cls, manifest: Manifest, longest: int | None) -> int:
        return manifest.sequence_length

    @classmethod
    def shorter_sequences(cls, positions: int) -> str:
        return "build the records with a shorter --sequence_length"


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class TLM(MaskedLanguageModeling):
    """Translation LM: `<s> src </s> tgt </s>` or the other way round, masked on both sides."""

    task_name = "tlm"
    label = "TLM"

    @classmethod
    def sequence_length(cls, lengths: SampleLengths) -> int:
        return 2 * lengths.pair + 3  # <s> source </s> target </s>

    @classmethod
    def stream(
        cls, settings: TaskSettings, manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        from infoxlm_keras.data.streams import TLMStream

        return TLMStream(manifest, batch_size, longest=longest, **common)
