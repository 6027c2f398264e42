"""The base of the fine-tuning heads: data of several languages, a model on a trained encoder, and its scores."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras
import keras_hub
from keras import ops

from infoxlm_keras.annotations import Array, PathLike, Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning.head_task import HeadTask
from infoxlm_keras.finetuning.prediction import predict, prediction_model
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.models import with_dropout
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.tokenizer import Tokenizer

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel


class Samples(Protocol):
    """The samples of one language, as a head reads them from files.

    Attributes:
        language: str.
        files: list of str, where they were read.
        reasons: {file: {reason: rows}}, what was left out and why.
        left_out: int, the sum of these rows.
    """

    language: str
    files: list[str]
    reasons: dict[str, dict[str, int]]

    def __len__(self) -> int: ...

    @property
    def left_out(self) -> int: ...


class FineTuningHead:
    """One fine-tuning: its data, and after `build` its model. `infoxlm finetune-<name>` runs it.

    The command calls `read` for `--train` and `read_measured` for `--dev` and `--test`; the constructor, which checks
    that they fit together; then for each run `build`, `training_arrays`, `losses` in each step, `measure` on the data
    that is reported, and `save`.

    Args:
        training, development, test: lists of `Samples`, each of different languages.

    Attributes:
        name: str, the name in the registry.
        description: str, the text of `--help`.
        samples: str, the content of the files of `--train`, as `--help` names it.
        Settings: `FineTuningSettings`, or a subclass whose further fields are options of `add_arguments`.
        metric: str, the score, the higher the better, that chooses the update that is kept, that is drawn, and of
            which mean and transfer gap are reported.
        default_max_length: int, tokens of the longest sample where the settings name none.
        masked_lm, backbone, tokenizer: of the encoder that is trained; exist after `build`.
        max_length: int, tokens of the longest sample; exists after `build`.
        model: keras.Model from `token_ids` and `padding_mask`, int32 [batch, length], to one output, of shape
            [batch, length, ...] only if it has a vector a token; exists after `build`.

    Raises:
        InputError: if the data do not fit together.
    """

    name: str = ""
    description: str = ""
    samples: str = ""
    Settings: type[FineTuningSettings] = FineTuningSettings
    metric: str = "accuracy"
    default_max_length: int = 128
    masked_lm: keras_hub.models.XLMRobertaMaskedLM
    backbone: keras_hub.models.XLMRobertaBackbone
    tokenizer: Tokenizer
    max_length: int
    model: keras.Model

    def __init__(self, training: Sequence[Any], development: Sequence[Any] = (), test: Sequence[Any] = ()) -> None:
        self.training = list(training)
        self.development = list(development)
        self.test = list(test)
        self._predictions: keras.Model | None = None

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Adds options for the further fields of `Settings`; an option has its field's name."""

    @classmethod
    def read(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None, max_samples: int | None = None
    ) -> list[Any]:
        """The samples of `paths`, list of `Samples`, one for each language.

        Args:
            paths: sequence of str or path.
            languages: optional sequence of str, the only languages to take.
            max_samples: int or None, maximum number of samples of each language.

        Raises:
            InputError: for files that cannot be read.
        """
        raise NotImplementedError

    @classmethod
    def read_measured(cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None) -> list[Any]:
        """As `read`, of the samples of `--dev` and `--test`: of them only what a score needs."""
        return cls.read(paths, languages)

    def facts(self) -> dict[str, Any]:
        """What the data decide (names of classes), a dict that is ready for JSON: printed, and in results.json."""
        return {}

    def notes(self) -> list[str]:
        """Lines on the data that a user should know before training, besides the rows that were left out."""
        return []

    def fitting_notes(self) -> list[str]:
        """Lines on samples that do not fit the model's tokens and positions; known after `build`, before training."""
        return []

    def resolve(self, model: PretrainedModel, settings: Any) -> None:
        """Takes from the history of a `PretrainedModel` what `settings` leave to it; `build` calls it first.

        Raises:
            InputError: for settings that do not fit the model.
        """

    def resolved(self, settings: Any) -> dict[str, Any]:
        """What `resolve` took, {name of the setting: value}, ready for JSON; empty before, and of most heads."""
        return {}

    def build(self, model: PretrainedModel, settings: Any) -> None:
        """Makes `model` on the encoder of a `PretrainedModel`, with random weights of the head.

        Raises:
            InputError: for settings that do not fit the encoder.
        """
        self.resolve(model, settings)
        keras.utils.set_random_seed(settings.seed)
        self.masked_lm = with_dropout(model.masked_lm, settings.dropout)
        self.backbone = self.masked_lm.backbone
        self.tokenizer = model.tokenizer
        positions = self.backbone.max_sequence_length
        default = min(self.default_max_length, positions)
        self.max_length = default if settings.max_length is None else settings.max_length
        if self.max_length > positions:
            raise InputError(f"max_length = {self.max_length}: the model has {positions} positions")
        if settings.lora_rank is not None and settings.lora_rank > self.backbone.hidden_dim:
            raise InputError(
                f"lora_rank = {settings.lora_rank}: is more than the encoder's width {self.backbone.hidden_dim}; "
                "without it there are fewer weights to train"
            )
        self.model = self.make_model(settings)
        self._predictions = None
        if settings.lora_rank is not None:
            self.backbone.enable_lora(settings.lora_rank)

    def make_model(self, settings: Any) -> keras.Model:
        """The `model` on `backbone`; `tokenizer` and `max_length` are known."""
        raise NotImplementedError

    def training_arrays(self) -> dict[str, Array]:
        """All samples of `training`, arrays [samples, ...].

        `token_ids` and `padding_mask`, int32 [samples, length]; what `losses` needs; and `weights`, float32 [samples]
        or [samples, length]: 1 where there is something to predict, else 0.
        """
        raise NotImplementedError

    def losses(self, outputs: Tensor, batch: Tensors) -> tuple[Tensor, Tensor]:
        """(losses, correct) of a batch, each of the shape of its `weights`, float32; `correct` in 0..1.

        Args:
            outputs: what `model` gives for the batch.
            batch: rows of `training_arrays`, as tensors.
        """
        raise NotImplementedError

    def task(self) -> PretextTask:
        """The head as a task of the pretrainer, after `build`. A head whose loss is not `losses` gives its own."""
        return HeadTask(self)

    def sources(self, settings: Any) -> dict[str, Any]:
        """What training reads beside model and samples, {name: its digest}, ready for JSON.

        A digest is a str, or a dict whose `model` is the digest of a model and whose other values say how it is used.
        """
        return {}

    def predict(
        self, inputs: dict[str, Array], batch_size: int, progress: Callable[[int], object] = lambda samples: None
    ) -> Array:
        """The outputs of `model` for arrays `token_ids` and `padding_mask`, float32; see `finetuning.prediction`."""
        if self._predictions is None:
            self._predictions = prediction_model(self.model)
        return predict(self._predictions, inputs, batch_size, progress)

    def measure(
        self, parts: Sequence[Any], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        """dict of score to {language: float}, of `metric` and any others.

        Args:
            parts: list of `Samples`.
            batch_size: int, samples a forward pass.
            progress: function that is called with the number of samples just measured.
        """
        raise NotImplementedError

    def write_predictions(self, directory: PathLike) -> None:
        """Writes what the last `measure` found for each sample into the folder of the run; the base writes nothing."""

    def chance(self) -> float | None:
        """The score of guessing, a line in the plot; None for no line."""
        return None

    def save(self, directory: PathLike) -> None:
        """Writes the trained model into the existing `directory`."""
        raise NotImplementedError


def cross_entropy(targets: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """(losses, correct) of the choice of one of several classes, float32 [...] each.

    Args:
        targets: int [...], the right class; values out of range must have the weight 0.
        logits: [..., classes], of any float type.

    Example:
    ```python
    cross_entropy(ops.array([1]), ops.array([[0.0, 0.0]]))  # log 2; 0, because the first class is taken of equals
    ```
    """
    logits = ops.cast(logits, "float32")
    classes = logits.shape[-1]
    targets = ops.clip(ops.cast(targets, "int32"), 0, classes - 1)
    of_target = ops.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    correct = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), targets), "float32")
    return ops.logsumexp(logits, axis=-1) - of_target, correct
