"""MRTD and TRTD: replaced-token detection on monolingual text and on translation pairs.

XLM-E's symbols: G = generator, D = discriminator (the encoder), M = masked positions, r_i = whether token i was
replaced, lambda = weight of the detection.
"""

from collections.abc import Mapping
from typing import Any

import keras
import pydantic
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.chunked_masked_lm import chunked_masked_lm_loss
from infoxlm_keras.losses.masked_lm import masked_lm_features, masked_lm_logits, masked_lm_loss
from infoxlm_keras.losses.sampling import chunked_sampled_pieces, sampled_pieces
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import TRAINED, Number, encoder_flops, masked_lm_head_flops, projection_flops
from infoxlm_keras.models.generator import Generator
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.settings import PositiveInt, TaskSettings, defaults_of
from infoxlm_keras.tasks.masked_lm import MAX_LOGITS, MMLM, TLM, MaskedLanguageModeling
from infoxlm_keras.tasks.pair_spans import placed
from infoxlm_keras.tasks.pretext_task import SampleLengths, SharedTensors, TaskResult

# What `Encoder.shared_models` calls it.
_GENERATOR = "generator"
_ARGUMENTS = ("generator_layers", "shared_embeddings", "detection_weight")


def default_generator_layers(num_layers: int) -> int:
    """Layers of the generator of an encoder of `num_layers`: 4 of 12 as in the paper, else a third."""
    return max(1, round(num_layers / 3))


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class ReplacedTokenDetection(MaskedLanguageModeling):
    """Tell for every token whether a generator has replaced it (XLM-E, section 3).

    The generator predicts the masked tokens. Each of them is replaced by a piece that is drawn from its prediction,
    and the encoder, which is the discriminator, says of all tokens whether they were replaced. A piece that equals the
    original counts as original. No gradient flows through the draw. Loss: `L_MLM + lambda L_RTD`, the means of the
    predictions of either part under `sum_of_means`, their sums under `joint_count`.

    MRTD and TRTD of a pretrainer share one generator. It, and the detection head (dense, GELU, a logit), are discarded
    after training, and the encoder is a plain XLM-R.

    Batch: as MMLM's or TLM's, and `sample_uniforms`, float32 [batch, predictions] in [0, 1), which decide the draws.

    Args:
        generator_layers: int > 0, layers of the generator, which is as wide as the encoder; None: 4 of 12, else a
            third.
        shared_embeddings: bool, whether the generator uses the encoder's embeddings.
        detection_weight: float > 0, lambda.
        max_logits: see `MaskedLanguageModeling`; of the generator.
        weight: float, the task's factor in both losses.

    Source: Chi et al. (ACL 2022), https://arxiv.org/abs/2106.16138, of which no code was published; Clark et al. (ICLR
    2020, ELECTRA) for what it does not state: shared embeddings, the head, and what counts as original. The paper's
    gated relative position bias is left out: with it, the encoder would be no XLM-R.
    """

    # `log 2 - loss` would be one if as many tokens were replaced as not.
    bounds_information = False
    average_names = ("original_share",)
    further_names = ("generator",)
    console_numbers = {"original_share": "originals {:.3f}", "generator_accuracy": "generator {:.3f}"}

    def __init__(
        self,
        generator_layers: int | None = None,
        shared_embeddings: bool = True,
        detection_weight: float = 50.0,
        max_logits: int = MAX_LOGITS,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_logits=max_logits, weight=weight, **kwargs)
        if generator_layers is not None and generator_layers < 1:
            raise InputError(f"{self.task_name}.generator_layers = {generator_layers}: must be at least 1")
        if detection_weight <= 0:
            raise InputError(f"{self.task_name}.detection_weight = {detection_weight}: must be positive")
        self.generator_layers: Any = generator_layers  # `bind` replaces None by an int
        self.shared_embeddings = shared_embeddings
        self.detection_weight = detection_weight

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **{name: getattr(self, name) for name in _ARGUMENTS}}

    @classmethod
    def from_settings(cls, settings: "ReplacedTokenSettings") -> "ReplacedTokenDetection":
        return cls(**settings.model_dump(exclude={"batch_size"}))

    @classmethod
    def batch_shapes(
        cls, settings: TaskSettings, samples: int, lengths: SampleLengths, masking: Masking
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        shapes = super().batch_shapes(settings, samples, lengths, masking)
        return {**shapes, "sample_uniforms": shapes["mask_weights"]}

    def bind(self, encoder: Encoder) -> None:
        super().bind(encoder)
        backbone = encoder.backbone
        if self.generator_layers is None:
            self.generator_layers = default_generator_layers(backbone.num_layers)
        generator = encoder.shared_models.get(_GENERATOR)
        if generator is None:
            generator = Generator(encoder, self.generator_layers, self.shared_embeddings)
            encoder.shared_models[_GENERATOR] = generator
            # Of the first of the tasks: their weights are the pretrainer's once.
            self.generator_parts = generator.parts
        elif (generator.num_layers, generator.shared_embeddings) != (self.generator_layers, self.shared_embeddings):
            raise InputError(
                f"{self.task_name}: generator_layers = {self.generator_layers} and shared_embeddings = "
                f"{self.shared_embeddings}, but another task's generator has {generator.num_layers} and "
                f"{generator.shared_embeddings}; the tasks share one, so give both the same"
            )
        self.generator = generator
        options = {
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.02),
            "dtype": backbone.dtype_policy,
        }
        self.detection_dense = keras.layers.Dense(
            backbone.hidden_dim, activation="gelu", name="detection_dense", **options
        )
        self.detection_output = keras.layers.Dense(1, name="detection_output", **options)
        for layer in (self.detection_dense, self.detection_output):
            layer.build((None, None, backbone.hidden_dim))

    def count(self, batch: Tensors) -> Tensor:
        return ops.sum(ops.cast(batch["padding_mask"], "float32"))

    def further_counts(self, batch: Tensors) -> Tensors:
        return {"generator": ops.sum(batch["mask_weights"])}

    def weight_at(self, step: Tensor) -> float:
        return self.weight * self.detection_weight

    def further_weights_at(self, step: Tensor) -> dict[str, float | Tensor]:
        return {"generator": self.weight}

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """The generator's layers and head, all layers of the encoder, and the detection head on all tokens."""
        backbone, width = self.encoder.backbone, self.encoder.backbone.hidden_dim
        (samples, length), (_, predictions) = shapes["token_ids"], shapes["mask_positions"]
        forward = encoder_flops(backbone, self.generator_layers + backbone.num_layers, samples, length)
        forward += masked_lm_head_flops(backbone, samples * predictions)
        return TRAINED * (forward + projection_flops(width, samples * length) + 2.0 * samples * length * width)

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        padding_mask = ops.convert_to_tensor(batch["padding_mask"])
        positions, weights = batch["mask_positions"], batch["mask_weights"]
        generator_loss, pieces = self._generated(batch, training)
        originals = placed(batch["token_ids"], positions, batch["mask_ids"], weights)
        corrupted = placed(batch["token_ids"], positions, pieces, weights)
        replaced = ops.cast(ops.not_equal(corrupted, originals), "float32")

        inputs = {"token_ids": corrupted, "padding_mask": padding_mask}
        state = self.encoder.hidden_state(inputs, training=training)  # [batch, length, dim]
        logits = self.detection_output(self.detection_dense(state))
        logits = ops.cast(logits, "float32")[..., 0]  # [batch, length], above 0: replaced
        tokens = ops.cast(padding_mask, "float32")
        losses = ops.maximum(logits, 0.0) - logits * replaced + ops.log1p(ops.exp(-ops.abs(logits)))
        correct = ops.cast(ops.equal(logits > 0, replaced > 0), "float32")
        return TaskResult(
            loss_sum=ops.sum(losses * tokens),
            count=self.count(batch),
            correct_sum=ops.sum(correct * tokens),
            num_candidates=ops.ones((), "float32"),
            averages={"original_share": ops.sum((1.0 - replaced) * tokens)},
            further={
                "generator": {
                    "loss_sum": generator_loss.loss_sum,
                    "count": self.further_counts(batch)["generator"],
                    "correct_sum": generator_loss.correct_sum,
                }
            },
        )

    def _generated(self, batch, training):
        """(the generator's `MaskedLMLoss`, int32 [batch, predictions], the pieces that it draws)."""
        inputs = {"token_ids": batch["token_ids"], "padding_mask": batch["padding_mask"]}
        generator, positions = self.generator, batch["mask_positions"]
        ids, weights, uniforms = batch["mask_ids"], batch["mask_weights"], batch["sample_uniforms"]
        state = generator.hidden_state(inputs, training)
        flat_ids, flat_weights, flat_uniforms = (ops.reshape(tensor, (-1,)) for tensor in (ids, weights, uniforms))
        chunk = self.vocabulary_chunk(positions)
        if chunk is None:
            logits = masked_lm_logits(generator, state, positions)
            loss, pieces = masked_lm_loss(logits, flat_ids, flat_weights), sampled_pieces(logits, flat_uniforms)
            return loss, ops.reshape(pieces, ops.shape(uniforms))
        arguments = (
            masked_lm_features(generator, state, positions),
            ops.convert_to_tensor(generator.token_embedding.embeddings),
            ops.convert_to_tensor(generator.masked_lm_head._bias),
        )
        loss = chunked_masked_lm_loss(*arguments, flat_ids, flat_weights, chunk, training)
        pieces = chunked_sampled_pieces(*arguments, loss.log_sum, flat_uniforms, chunk)
        return loss, ops.reshape(pieces, ops.shape(uniforms))


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class MRTD(ReplacedTokenDetection, MMLM):
    """Multilingual replaced-token detection: blocks of one language."""

    task_name = "mrtd"
    label = "MRTD"

    @classmethod
    def stream(
        cls, settings: Any, manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        from infoxlm_keras.data.streams import MRTDStream

        return MRTDStream(manifest, batch_size, **common)


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class TRTD(ReplacedTokenDetection, TLM):
    """Translation replaced-token detection: translation pairs."""

    task_name = "trtd"
    label = "TRTD"

    @classmethod
    def stream(
        cls, settings: Any, manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        from infoxlm_keras.data.streams import TRTDStream

        return TRTDStream(manifest, batch_size, longest=longest, **common)


_TASK = defaults_of(ReplacedTokenDetection)


class ReplacedTokenSettings(TaskSettings):
    """See `ReplacedTokenDetection`; MRTD and TRTD must have the same generator."""

    generator_layers: PositiveInt | None = _TASK.generator_layers
    shared_embeddings: bool = _TASK.shared_embeddings
    detection_weight: pydantic.PositiveFloat = _TASK.detection_weight


MRTD.Settings = TRTD.Settings = ReplacedTokenSettings
