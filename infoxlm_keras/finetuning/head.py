"""The base of the fine-tuning heads: data of several languages, a model on a trained encoder, and its scores."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import keras

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.finetuning.loop import FineTuningSettings

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

    The command calls `read` for each of `--train`, `--dev` and `--test`; the constructor, which checks that they fit
    together; `build`, `train`, `save`; and `measure` on the data that is reported.

    Args:
        training, development, test: lists of `Samples`, each of different languages.

    Attributes:
        name: str, the name in the registry.
        description: str, the text of `--help`.
        samples: str, the content of the files of `--train`, as `--help` names it.
        Settings: `FineTuningSettings`, or a subclass whose further fields are options of `add_arguments`.
        metric: str, the score that chooses the epoch, that is drawn, and of which mean and transfer gap are reported.
        model: keras.Model that is trained; exists after `build`.

    Raises:
        InputError: if the data do not fit together.
    """

    name: str = ""
    description: str = ""
    samples: str = ""
    Settings: type[FineTuningSettings] = FineTuningSettings
    metric: str = "accuracy"
    model: keras.Model

    def __init__(self, training: Sequence[Any], development: Sequence[Any] = (), test: Sequence[Any] = ()) -> None:
        self.training = list(training)
        self.development = list(development)
        self.test = list(test)

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

    def facts(self) -> dict[str, Any]:
        """What the data decide (names of classes), a dict that is ready for JSON: printed, and in results.json."""
        return {}

    def notes(self) -> list[str]:
        """Lines on the data that a user should know before training, besides the rows that were left out."""
        return []

    def build(self, model: PretrainedModel, settings: Any) -> None:
        """Makes `model` on the encoder of a `PretrainedModel`, with random weights of the head.

        Raises:
            InputError: for settings that do not fit the encoder.
        """
        raise NotImplementedError

    def train(self, settings: Any) -> list[dict[str, Any]]:
        """Trains on `training` and keeps the epoch that is best on `development`; returns the epochs of `finetune`."""
        raise NotImplementedError

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

    def chance(self) -> float | None:
        """The score of guessing, a line in the plot; None for no line."""
        return None

    def save(self, directory: PathLike) -> None:
        """Writes the trained model into the existing `directory`."""
        raise NotImplementedError
