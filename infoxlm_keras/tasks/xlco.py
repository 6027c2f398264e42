"""XLCO: cross-lingual contrast of a sentence and its translation against a momentum queue.

The paper's symbols: q = query vector, k+ = key of its translation, K = queue of past keys,
theta_Q = query encoder (the model), theta_K = key encoder (its moving average), m = momentum.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import keras
import pydantic
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.choices import MOMENTUM_SCHEDULES, POOLINGS
from infoxlm_keras.contrast.key_encoder import KeyEncoder
from infoxlm_keras.contrast.momentum import MomentumSchedule
from infoxlm_keras.contrast.moving_average import MovingAverage
from infoxlm_keras.contrast.queue import KeyQueue
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.losses.info_nce import info_nce
from infoxlm_keras.models.encoder import Encoder, check_layer
from infoxlm_keras.models.flops import (
    TRAINED,
    TRAINED_BY_CONSTANT,
    Number,
    contrast_flops,
    encoder_flops,
    projection_flops,
)
from infoxlm_keras.models.pooling import check_pooling, l2_normalize, pool
from infoxlm_keras.models.sizes import default_universal_layer
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.settings import NonNegativeInt, OneOf, PositiveInt, Settings, TaskSettings, defaults_of
from infoxlm_keras.tasks.pretext_task import PretextTask, SampleLengths, SharedTensors, TaskResult

DEFAULT_MOMENTUM = MomentumSchedule()
# The constructor's arguments that a configuration holds as they are.
_ARGUMENTS = (
    "universal_layer",
    "queue_length",
    "temperature",
    "pooling",
    "normalize",
    "projection",
    "shared_projection",
    "in_batch_negatives",
    "enable_step",
)


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class XLCO(PretextTask):
    """Cross-lingual contrast on the universal layer (InfoXLM, section 3.3).

    Batch: `query_token_ids`, `query_padding_mask`, `key_token_ids`, `key_padding_mask`, int32 [batch, length]; row i
    of the keys is the translation of row i of the queries.

    Args:
        universal_layer: int in 1..L, the hidden state that is contrasted; None takes 8 of 12, 12 of 24, else two
            thirds of the layers. Index 0 would be the embeddings.
        queue_length: int, past keys kept as negatives.
        temperature: float > 0. 0.25 in the reference, on raw dot products.
        pooling: "cls" (reference), "mean" over the tokens (from scratch: a random `<s>` carries nothing) or "max".
        normalize: bool, cosine instead of raw dot products.
        projection: bool, an H x H linear map without bias, initialised N(0, 0.02), after pooling; the key encoder
            has its own moving average of it.
        shared_projection: bool, the keys use the query's projection itself instead of a moving average.
        in_batch_negatives: bool, the batch's other keys are negatives besides the queue.
        momentum: `MomentumSchedule` or float.
        enable_step: int, updates before which the loss has weight 0 and the key encoder copies the query encoder.
        weight: float, the task's factor in the loss.
    """

    task_name = "xlco"
    label = "XLCO"
    average_names = ("positive_similarity", "negative_similarity")
    console_numbers = {"mi_lower_bound": "MI >= {:.2f} nats"}
    panels = {
        "Similarity in the contrast": {"positive_similarity": "translation", "negative_similarity": "others"},
        "Age of the oldest key, steps": {"queue_age": "age"},
    }

    def __init__(
        self,
        universal_layer: int | None = None,
        queue_length: int = 131072,
        temperature: float = 0.25,
        pooling: str = "cls",
        normalize: bool = False,
        projection: bool = True,
        shared_projection: bool = False,
        in_batch_negatives: bool = False,
        momentum: MomentumSchedule | float = DEFAULT_MOMENTUM,
        enable_step: int = 0,
        weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(weight=weight, **kwargs)
        check_pooling(pooling)
        if temperature <= 0:
            raise InputError(f"xlco.temperature = {temperature}: must be positive")
        if enable_step < 0:
            raise InputError(f"xlco.enable_step = {enable_step}: must not be negative")
        self.universal_layer: Any = universal_layer  # `bind` replaces None by an int
        self.queue_length = queue_length
        self.temperature = temperature
        self.pooling = pooling
        self.normalize = normalize
        if shared_projection and not projection:
            raise InputError("xlco.shared_projection = True: needs xlco.projection = True")
        self.projection = projection
        self.shared_projection = shared_projection
        self.in_batch_negatives = in_batch_negatives
        self.momentum = momentum if isinstance(momentum, MomentumSchedule) else MomentumSchedule(value=momentum)
        self.enable_step = enable_step

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in _ARGUMENTS}
        return {**super().get_config(), **own, "momentum": keras.saving.serialize_keras_object(self.momentum)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "XLCO":
        if "momentum" not in config:
            return cls(**config)
        return cls(**{**config, "momentum": keras.saving.deserialize_keras_object(config["momentum"])})

    @classmethod
    def from_settings(cls, settings: "XLCOSettings") -> "XLCO":
        options = settings.model_dump(exclude=_STREAM_SETTINGS)
        return cls(**{**options, "momentum": MomentumSchedule(**options["momentum"])})

    @classmethod
    def problem(cls, settings: "XLCOSettings") -> str | None:
        if settings.queue_length >= settings.batch_size:
            return None
        return (
            f"xlco.queue_length = {settings.queue_length}: must be at least xlco.batch_size = {settings.batch_size}; "
            f"give --set xlco.queue_length={settings.batch_size} or more, or a smaller --set xlco.batch_size"
        )

    @classmethod
    def stream(
        cls, settings: "XLCOSettings", manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        from infoxlm_keras.data.streams import XLCOStream

        return XLCOStream(
            manifest,
            batch_size,
            mixup=settings.mixup,
            mask_inputs=settings.mask_inputs,
            longest=longest,
            **common,
        )

    @classmethod
    def batch_shapes(
        cls, settings: "XLCOSettings", samples: int, lengths: SampleLengths, masking: Masking
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        length = 2 * lengths.pair + 3 if settings.mixup else lengths.pair + 2
        names = [f"{side}_{part}" for side in ("query", "key") for part in ("token_ids", "padding_mask")]
        return dict.fromkeys(names, ((samples, length), "int32"))

    @classmethod
    def corpus_warning(cls, settings: "XLCOSettings", manifest: Manifest) -> str | None:
        pairs = sum(stream.records for stream in manifest.streams)
        if settings.queue_length <= pairs:
            return None
        return (
            f"xlco.queue_length = {settings.queue_length} exceeds the {pairs} distinct pairs: the queue will hold "
            "keys of the same pair (false negatives); lower it"
        )

    def bind(self, encoder: Encoder) -> None:
        self.encoder = encoder
        backbone = encoder.backbone
        if self.universal_layer is None:
            self.universal_layer = default_universal_layer(backbone.num_layers)
        check_layer(self.universal_layer, backbone.num_layers)
        self.key_encoder = KeyEncoder(backbone, self.universal_layer, name="key_encoder")
        self.queue = KeyQueue(self.queue_length, backbone.hidden_dim, name="queue")
        if self.projection:
            shape = (backbone.hidden_dim, backbone.hidden_dim)
            initializer = keras.initializers.RandomNormal(stddev=0.02)
            options = {"shape": shape, "initializer": initializer, "dtype": "float32", "autocast": False}
            self.query_projection = self.add_weight(name="query_projection", **options)
            if not self.shared_projection:
                self.key_projection = self.add_weight(name="key_projection", trainable=False, **options)
        self.moving_average = MovingAverage.of(self.variable_pairs(), name="moving_average")
        self.built = True
        self.reset_key_encoder()

    def variable_pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """List of (key variable, query variable): encoder layers 1..k, embeddings, and the projection."""
        pairs = self.key_encoder.variable_pairs(self.encoder.backbone)
        if self.projection and not self.shared_projection:
            pairs.append((self.key_projection, self.query_projection))
        return pairs

    def reset_key_encoder(self) -> None:
        """Makes the key encoder equal to the query encoder; call it after loading weights into the encoder."""
        self.moving_average.reset(self.variable_pairs())

    def represent(self, hidden_state: Tensor, padding_mask: Tensor, projection: Tensor | None) -> Tensor:
        """Pooled, projected and (if set) normalised vectors, float32 [batch, dim], of a hidden state."""
        vectors = pool(hidden_state, padding_mask, self.pooling)
        if projection is not None:
            vectors = ops.matmul(vectors, ops.cast(projection, "float32"))
        return l2_normalize(vectors) if self.normalize else vectors

    def queries(self, token_ids: Tensor, padding_mask: Tensor, training: bool) -> Tensor:
        """Query vectors of the model: float32 [batch, dim]."""
        inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
        hidden_state = self.encoder.hidden_state(inputs, self.universal_layer, training)  # [batch, length, dim]
        return self.represent(hidden_state, padding_mask, self.query_projection if self.projection else None)

    def keys(self, token_ids: Tensor, padding_mask: Tensor) -> Tensor:
        """Key vectors of the moving average: float32 [batch, dim], without gradient."""
        hidden_state = self.key_encoder({"token_ids": token_ids, "padding_mask": padding_mask})
        projection = None
        if self.projection:
            projection = self.query_projection if self.shared_projection else self.key_projection
        return ops.stop_gradient(self.represent(hidden_state, padding_mask, projection))

    def count(self, batch: Tensors) -> Tensor:
        return ops.cast(ops.shape(batch["query_token_ids"])[0], "float32")

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number:
        """Layers 1..k of the query encoder, and of the key encoder (forward only); projections and contrast."""
        backbone, width = self.encoder.backbone, self.encoder.backbone.hidden_dim
        samples, length = shapes["query_token_ids"]
        queries = encoder_flops(backbone, self.universal_layer, samples, length)
        keys = encoder_flops(backbone, self.universal_layer, *shapes["key_token_ids"])
        if self.projection:
            queries += projection_flops(width, samples)
            keys += projection_flops(width, samples)
        candidates = self.queue_length + (samples / micro_batches if self.in_batch_negatives else 0)
        contrast = contrast_flops(width, samples, candidates)
        return TRAINED * queries + keys + TRAINED_BY_CONSTANT * contrast

    def shared(self, batch: Tensors) -> Tensors:
        return {"keys": self.keys(batch["key_token_ids"], batch["key_padding_mask"])}

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        queries = self.queries(batch["query_token_ids"], batch["query_padding_mask"], training)
        shared = shared or SharedTensors(self.shared(batch))
        keys = shared.tensors["keys"]
        contrast = info_nce(
            queries,
            keys,
            ops.convert_to_tensor(self.queue.keys),
            self.queue.mask(),
            self.temperature,
            self.in_batch_negatives,
            shared.first_row,
        )
        return TaskResult(
            loss_sum=contrast.loss_sum,
            count=self.count(batch),
            correct_sum=contrast.correct_sum,
            num_candidates=contrast.num_candidates,
            averages={
                "positive_similarity": contrast.positive_similarity_sum,
                "negative_similarity": contrast.negative_similarity_sum,
            },
            state={"keys": keys},
        )

    def sentence_vector(self) -> tuple[int, str, bool]:
        return self.universal_layer, self.pooling, self.normalize

    @property
    def entries_to_fill(self) -> int:
        return self.queue_length

    def fill(self, shared: Tensors) -> int:
        self.queue.enqueue(shared["keys"])
        return shared["keys"].shape[0]

    def state_numbers(self, update: int, samples_per_step: int) -> dict[str, float]:
        """`momentum`, the share of the queue that is filled, and the age of its oldest key in steps."""
        keys = int(ops.convert_to_numpy(self.queue.count))
        return {
            "momentum": float(ops.convert_to_numpy(self.momentum(update) * self.enabled_at(update))),
            "queue_filled": keys / self.queue_length,
            "queue_age": keys / samples_per_step,
        }

    def weight_at(self, step: Tensor) -> Tensor:
        return self.weight * self.enabled_at(step)

    def enabled_at(self, step: Tensor) -> Tensor:
        """float32 scalar: 1 if update `step` trains this task and moves its key encoder, else 0."""
        return ops.cast(ops.cast(step, "int32") > self.enable_step, "float32")

    def after_backward(self, state: Tensors) -> None:
        # After the loss, so that the batch's own keys are not negatives in the same step.
        self.queue.enqueue(state["keys"])

    def after_update(self, step: Tensor) -> None:
        self.moving_average.update(self.variable_pairs(), self.momentum(step) * self.enabled_at(step))


_MOMENTUM, _TASK = defaults_of(MomentumSchedule), defaults_of(XLCO)
# Settings that shape the batches, not the task.
_STREAM_SETTINGS = {"batch_size", "mixup", "mask_inputs"}


class MomentumSettings(Settings):
    """See `infoxlm_keras.contrast.MomentumSchedule`."""

    kind: Annotated[str, OneOf(MOMENTUM_SCHEDULES)] = _MOMENTUM.kind
    value: float = pydantic.Field(default=_MOMENTUM.value, ge=0.0, le=1.0)
    final_value: float = pydantic.Field(default=_MOMENTUM.final_value, ge=0.0, le=1.0)
    start_step: NonNegativeInt = _MOMENTUM.start_step
    end_step: PositiveInt = _MOMENTUM.end_step
    refresh_every: PositiveInt = _MOMENTUM.refresh_every
    exponent: pydantic.PositiveFloat = _MOMENTUM.exponent


class XLCOSettings(TaskSettings):
    """See `XLCO`; `mixup` and `mask_inputs` shape its batches, see `infoxlm_keras.data.streams.XLCOStream`."""

    universal_layer: PositiveInt | None = _TASK.universal_layer
    queue_length: PositiveInt = _TASK.queue_length
    temperature: pydantic.PositiveFloat = _TASK.temperature
    pooling: Annotated[str, OneOf(POOLINGS)] = _TASK.pooling
    normalize: bool = _TASK.normalize
    projection: bool = _TASK.projection
    shared_projection: bool = _TASK.shared_projection
    in_batch_negatives: bool = _TASK.in_batch_negatives
    mixup: bool = True
    mask_inputs: bool = True
    momentum: MomentumSettings = MomentumSettings()
    enable_step: NonNegativeInt = _TASK.enable_step


XLCO.Settings = XLCOSettings
