"""The base of the pretext tasks: batch, loss and count, metrics, and the bound of mutual information."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor, Tensors
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.data.masking import Masking
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.encoder import Encoder
from infoxlm_keras.models.flops import Number
from infoxlm_keras.records.manifest import Manifest
from infoxlm_keras.settings import Settings, TaskSettings

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel


@dataclasses.dataclass
class TaskResult:
    """What one forward pass of a task gives for this replica's share of the batch.

    Attributes:
        loss_sum: float32 scalar, the loss summed over predictions.
        count: float32 scalar, the number of predictions.
        correct_sum: float32 scalar, predictions whose likeliest candidate is right.
        num_candidates: float32 scalar N of the InfoNCE bound `I >= log N - L`, in nats.
        averages: dict of metric name to float32 scalar, further quantities summed over predictions. If one of them is
            `log_candidates`, its mean takes the place of log N: the predictions have different numbers of candidates.
        further: dict of name to dict of `loss_sum`, `count` and `correct_sum`, float32 scalars: losses beside the
            first one, with predictions of their own (`PretextTask.further_counts`).
        state: dict of tensors handed to `after_backward` (XLCO's keys).
    """

    loss_sum: Tensor
    count: Tensor
    correct_sum: Tensor
    num_candidates: Tensor
    averages: Tensors = dataclasses.field(default_factory=dict)
    further: dict[str, Tensors] = dataclasses.field(default_factory=dict)
    state: Tensors = dataclasses.field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The fields as nested dicts, which the gradient function of every backend can return."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass
class SharedTensors:
    """What `PretextTask.shared` gave on all replicas, or `PretextTask.gathered` in all of an update.

    Attributes:
        tensors: dict of name to tensor [micro-batch of all replicas, ...], in the replicas' order. Of `gathered`
            [update, ...]: micro-batch after micro-batch, each in the replicas' order.
        first_row: int or int32 scalar, where this replica's rows begin.
    """

    tensors: Tensors
    first_row: int | Tensor = 0

    @classmethod
    def of_update(cls, tensors: Tensors, index: int | Tensor, first_row: int | Tensor) -> SharedTensors:
        """What micro-batch `index` sees of `gathered`.

        Args:
            tensors: dict of name to tensor [micro-batches, micro-batch of all replicas, ...].
            index: int or int32 scalar.
            first_row: int or int32 scalar, where this replica's rows begin in a micro-batch.
        """
        rows = ops.shape(next(iter(tensors.values())))[1]
        flat = {name: ops.reshape(tensor, (-1, *tensor.shape[2:])) for name, tensor in tensors.items()}
        return cls(flat, index * rows + first_row)


@dataclasses.dataclass(frozen=True)
class SampleLengths:
    """Lengths of what a batch is made of, in tokens: a block of text, and one side of a translation pair."""

    block: int
    pair: int


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class PretextTask(keras.layers.Layer):
    """Base of the pretext tasks.

    A task is bound to one encoder by `bind`, before training; then `InfoXLMPretrainer` calls, for each update:
    `prepare` (each micro-batch), `count` and `further_counts` (whole batch), `shared` or `gathered` (each
    micro-batch), `result` (each micro-batch), `after_backward` (each micro-batch), `after_update` (once).

    Args:
        weight: float >= 0, the task's factor in the loss.

    Attributes:
        task_name: str, the name in configurations, metrics and batches.
        label: str, the name in tables, on the console and in plots.
        Settings: subclass of `TaskSettings`, the task's section of a configuration.
        host: str or None, the name of the task whose batch and forward pass this one uses. It then has no stream and
            no batch size, and the two losses have one backward pass. None: the task has a batch of its own.
        record_kind: str, the kind of records that its stream reads: `"mmlm"` (blocks) or `"bitext"` (pairs).
        bounds_information: bool, whether `log N - loss` bounds a mutual information, and is logged.
        average_names: names of the entries of `TaskResult.averages`.
        further_names: names of the entries of `TaskResult.further`.
        console_numbers: dict of metric name to a format string, shown on the console line behind the loss.
        panels: dict of a plot's title to {metric name: legend}, for the overview of a run.
    """

    # Each task sets both names.
    task_name: str = None  # type: ignore[assignment]
    label: str = None  # type: ignore[assignment]
    Settings: type[Settings] = TaskSettings
    host: str | None = None
    record_kind: str = "bitext"
    bounds_information: bool = True
    average_names: tuple[str, ...] = ()
    further_names: tuple[str, ...] = ()
    console_numbers: dict[str, str] = {}
    panels: dict[str, dict[str, str]] = {}

    @classmethod
    def from_settings(cls, settings: Any) -> PretextTask:
        """The task as `settings` (its section of a configuration) describes it."""
        return cls(weight=settings.weight)

    @classmethod
    def problem(cls, settings: Any) -> str | None:
        """One line on settings that do not go together, or None."""
        return None

    @classmethod
    def models_to_load(cls, settings: Any) -> dict[str, str]:
        """dict of name to source of the trained models that the task works with (a teacher), for `take_models`.

        A source is what `load_pretrained` takes. A run loads them at each start, and keeps digests of them.
        """
        return {}

    @classmethod
    def stream(
        cls, settings: Any, manifest: Manifest, batch_size: int, longest: int | None, **common: Any
    ) -> BatchStream:
        """The stream of the task's batches (TensorFlow), with `name`, `batch_size` and `dataset(start_step)`.

        Args:
            settings: the task's section.
            manifest: `infoxlm_keras.records.manifest.Manifest` of `record_kind`.
            batch_size: int, samples of one update, all micro-batches together.
            longest: int or None, the longest pairs that are read, in tokens a side.
            common: `vocabulary_size`, `seed`, `language_exponent`, `masking`, `split`, `validation_records`.
        """
        raise NotImplementedError

    @classmethod
    def batch_shapes(
        cls, settings: Any, samples: int, lengths: SampleLengths, masking: Masking
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """dict of name to (shape, dtype) of a batch of `stream`, known without records.

        Args:
            settings: the task's section.
            samples: int, samples of one update.
            lengths: `SampleLengths`.
            masking: `Masking`.
        """
        raise InputError(f"{cls.task_name}: states no batch_shapes, so its step cannot be compiled ahead")

    @classmethod
    def longest_sequence(cls, manifest: Manifest, longest: int | None) -> int:
        """int: tokens of the longest sequence that `stream` makes of `manifest`."""
        read = [stream.length for stream in manifest.streams if longest is None or stream.length <= longest]
        return 2 * max(read, default=0) + 3  # <s> source </s> target </s>

    @classmethod
    def shorter_sequences(cls, positions: int) -> str:
        """str: how a user gets sequences of at most `positions` tokens, for a message."""
        longest = max((positions - 3) // 2, 1)
        return f"leave out long pairs by --set data.longest_pair={longest} or less"

    @classmethod
    def corpus_warning(cls, settings: Any, manifest: Manifest) -> str | None:
        """One line on records that do not suit the settings, or None."""
        return None

    def flops(self, shapes: Mapping[str, tuple[Number, ...]], micro_batches: int) -> Number | None:
        """Model FLOPs of one update, forward and backward, by `infoxlm_keras.models.flops`; None: not stated.

        Without this number a run logs no TFLOP a second.

        Args:
            shapes: dict of name to shape of the whole batch of an update, all replicas and micro-batches together. Its
                entries are ints, or float32 scalars where they are known at run time only.
            micro_batches: int.
        """
        return None

    def sentence_vector(self) -> tuple[int, str, bool] | None:
        """(hidden state, pooling, normalize) of the sentence vector that the task trains, or None."""
        return None

    def notes(self) -> list[str]:
        """What a user should know of the bound task's settings before training, a sentence each."""
        return []

    @property
    def entries_to_fill(self) -> int:
        """int: entries that must be filled from extra batches before the first step (XLCO's queue); 0 for none."""
        return 0

    def fill(self, shared: Tensors) -> int:
        """Takes in `shared` (what `shared()` gave on all replicas) before training; returns the number of entries."""
        return 0

    def state_numbers(self, update: int, samples_per_step: int) -> dict[str, float]:
        """dict of name to float, the task's state for the log; written as `<task>_<name>`.

        Args:
            update: int, updates done.
            samples_per_step: int, samples of this task in a step.
        """
        return {}

    # Whether a pretrainer has bound the task; it then holds that pretrainer's encoder and state.
    in_pretrainer: bool = False

    def __init__(self, weight: float = 1.0, **kwargs: Any) -> None:
        kwargs.setdefault("name", self.task_name)
        super().__init__(**kwargs)
        if weight < 0:
            raise InputError(f"{self.task_name}.weight = {weight}: must not be negative")
        self.weight = weight

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, without the encoder: `from_config` gives a task that is not bound."""
        return {**super().get_config(), "weight": self.weight}

    def take_models(self, models: Mapping[str, PretrainedModel]) -> None:
        """Takes the models that `models_to_load` names, before `bind`."""

    def bind(self, encoder: Encoder) -> None:
        """Builds what the task needs on `encoder` (`infoxlm_keras.models.Encoder`)."""
        raise NotImplementedError

    @property
    def constant_variables(self) -> list[keras.Variable]:
        """Variables of loaded models, which never change: a run's checkpoints leave them out."""
        return []

    def prepare(self, batch: Tensors) -> Tensors:
        """dict of tensors [batch, ...] that are added to `batch`, a micro-batch, before anything else sees it.

        For labels that the present weights give (DWA). No gradient flows through them.
        """
        return {}

    def count(self, batch: Tensors) -> Tensor:
        """float32 scalar: the number of predictions in `batch`, known before the forward pass."""
        raise NotImplementedError

    def further_counts(self, batch: Tensors) -> Tensors:
        """dict of the names `further_names` to float32 scalars: predictions of the losses beside the first one."""
        return {}

    def shared(self, batch: Tensors) -> Tensors:
        """dict of tensors [batch, ...] that the replicas exchange before `result` (XLCO's keys).

        They must not depend on what changes within an update, because no gradient flows through them.
        """
        return {}

    def gathered(self, batch: Tensors, training: bool) -> Tensors:
        """dict of tensors [batch, ...] of which `result` needs those of the whole update: vectors to be contrasted.

        All micro-batches of all replicas are computed before the first `result`, without gradient, and with the
        dropout masks of the `result` that follows (Gao et al. 2021, https://arxiv.org/abs/2101.06983). A task with
        such tensors trains alone.
        """
        return {}

    def result(self, batch: Tensors, training: bool, shared: SharedTensors | None = None) -> TaskResult:
        """`TaskResult` of `batch`; changes no variable but dropout's seeds.

        Args:
            batch: dict of tensors, a micro-batch or this replica's share of it.
            training: bool, whether dropout is on.
            shared: `SharedTensors` of all replicas, with `gathered` of the whole update; None: `batch` is all of it.
        """
        raise NotImplementedError

    def weight_at(self, step: Tensor) -> float | Tensor:
        """The task's weight at update `step` (int32 scalar, the first is 1)."""
        return self.weight

    def further_weights_at(self, step: Tensor) -> dict[str, float | Tensor]:
        """dict of the names `further_names` to their weights at update `step`, in place of `weight_at`."""
        return {}

    def after_backward(self, state: Tensors) -> None:
        """Takes in `TaskResult.state` once the gradients of a micro-batch are known."""

    def after_update(self, step: Tensor) -> None:
        """Called once after the optimizer's update number `step` (int32 scalar, the first is 1)."""
