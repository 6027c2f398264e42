"""The loop of all heads: `fit`, one epoch after the other, and the epoch that is best on development data is kept."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.distribution.host_compiler import compiles_here
from infoxlm_keras.errors import InputError
from infoxlm_keras.training.optimizer import WarmupLinearDecay, without_decay_of_biases


@dataclasses.dataclass(frozen=True)
class FineTuningSettings:
    """The training settings of a head; every value is checked.

    Attributes:
        epochs: int >= 1.
        batch_size: int >= 1, samples an update.
        learning_rate: float > 0, the peak; it rises over the first `warmup_share` of all updates, then falls to 0.
        warmup_share: float in 0..1.
        weight_decay: float >= 0, decoupled; not on biases and layer norms.
        dropout: float in [0, 1), of encoder and head.
        max_length: int, tokens of a sample, special tokens included. Longer samples are cut; of a pair, the longer
            side. None: 128, or the model's number of positions if that is smaller.
        seed: int.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    max_length: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "positive"),
            "warmup_share": (0 <= self.warmup_share < 1, "in 0..1, below 1"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "dropout": (0 <= self.dropout < 1, "in 0..1, below 1"),
            "max_length": (self.max_length is None or self.max_length >= 8, "at least 8"),
        }
        for name, (holds, limit) in limits.items():
            if not holds:
                raise InputError(f"{name} = {getattr(self, name)}: must be {limit}")


def finetune(
    model: keras.Model,
    inputs: Mapping[str, Array],
    targets: Array,
    settings: FineTuningSettings,
    loss: Any,
    metrics: Sequence[keras.metrics.Metric] = (),
    development: Callable[[], dict[str, float]] | None = None,
    verbose: str | int = "auto",
) -> list[dict[str, Any]]:
    """Trains `model` and leaves it with the weights of the epoch whose mean over `development` is highest.

    Args:
        model: keras.Model from `inputs` to what `loss` takes.
        inputs: dict of arrays [samples, ...].
        targets: array [samples, ...].
        settings: `FineTuningSettings`.
        loss, metrics: as of `keras.Model.compile`.
        development: function without arguments, called after each epoch, that gives a score of each language; the
            higher the better. None: the last epoch is kept.
        verbose: as of `keras.Model.fit`.

    Returns:
        list of dicts, one an epoch: `epoch` (from 1), `loss`, each of `metrics` (of training), and, with
        `development`, `development` (the scores) and `development_mean`.

    Raises:
        InputError: for a loss that is not finite.
    """
    keras.utils.set_random_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    batch_size = min(settings.batch_size, len(targets))
    updates = settings.epochs * -(-len(targets) // batch_size)
    model.compile(
        optimizer=_optimizer(settings, updates),
        loss=loss,
        metrics=list(metrics),
        # Keras compiles where it sees a TPU, even if the model does not run there.
        jit_compile="auto" if compiles_here() else False,
    )
    epochs, best, best_weights = [], -np.inf, None
    for epoch in range(1, settings.epochs + 1):
        # Shuffled here because the order of `fit` depends on the backend's random numbers.
        shuffled = order.permutation(len(targets))
        history = model.fit(
            {name: values[shuffled] for name, values in inputs.items()},
            targets[shuffled],
            batch_size=batch_size,
            initial_epoch=epoch - 1,
            epochs=epoch,
            shuffle=False,
            verbose=verbose,
        ).history
        record: dict[str, Any] = {"epoch": epoch}
        record.update({name: history[name][0] for name in ("loss", *(metric.name for metric in metrics))})
        if not np.isfinite(record["loss"]):
            raise InputError(f"epoch {epoch}: the loss is not finite; lower learning_rate = {settings.learning_rate}")
        if development is not None:
            record["development"] = development()
            record["development_mean"] = float(np.mean(list(record["development"].values())))
            if record["development_mean"] > best:
                best, best_weights = record["development_mean"], model.get_weights()
        epochs.append(record)
    if best_weights is not None:
        model.set_weights(best_weights)
    return epochs


def transfer_gap(scores: Mapping[str, float], training_languages: Sequence[str]) -> float | None:
    """Score in the training language minus the mean over all other languages, float (the paper, section 4.3).

    None unless there is exactly one training language, and both it and another language were measured.
    """
    others = [score for language, score in scores.items() if language not in training_languages]
    if len(training_languages) != 1 or training_languages[0] not in scores or not others:
        return None
    return scores[training_languages[0]] - float(np.mean(others))


def _optimizer(settings, updates):
    schedule = WarmupLinearDecay(settings.learning_rate, int(settings.warmup_share * updates), updates)
    return without_decay_of_biases(
        keras.optimizers.AdamW(
            schedule, weight_decay=settings.weight_decay, beta_2=0.98, epsilon=1e-6, global_clipnorm=1.0
        )
    )
