"""The optimizers of a run by name; AdamW with warm-up and linear decay is InfoXLM's."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.training.muon import MatrixMuon
from infoxlm_keras.training.schedule_free import ScheduleFreeAdamW
from infoxlm_keras.training.schedules import DEFAULT_DECAY_SHARE, SCHEDULES, build_schedule

# Parts of the names of biases and layer norms.
NO_DECAY = ("bias", "gamma", "beta")


def without_decay_of_biases(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """`optimizer`, whose weight decay leaves out biases and layer norms (`NO_DECAY`) from now on."""
    optimizer.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return optimizer


def optimizer_config(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What `optimizer_from_config` makes an equal optimizer of, a dict that is ready for JSON.

    It differs from Keras' own in two ways. It holds which names weight decay leaves out (`exclude_from_weight_decay`
    with `var_names`); without them a loaded optimizer would decay all variables. And it names no class of one backend:
    under PyTorch, Keras' AdamW is a class of PyTorch's own.
    """
    config = keras.saving.serialize_keras_object(optimizer)
    if config["module"].startswith("keras.") and hasattr(keras.optimizers, config["class_name"]):
        config.update(module="keras.optimizers", registered_name=None)
    pattern = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
    return {"optimizer": config, "no_decay": None if pattern is None else pattern.pattern}


def optimizer_from_config(config: dict[str, Any]) -> keras.optimizers.Optimizer:
    """The optimizer that `optimizer_config` describes, not yet built."""
    optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
    if config["no_decay"] is not None:
        optimizer.exclude_from_weight_decay(var_names=[config["no_decay"]])
    return optimizer


def _lion(epsilon, **settings):
    # It divides by nothing.
    return keras.optimizers.Lion(**settings)


def _muon(beta_1, beta_2, weight_decay, **settings):
    return MatrixMuon(
        adam_beta_1=beta_1,
        adam_beta_2=beta_2,
        weight_decay=weight_decay,
        adam_weight_decay=weight_decay,
        **settings,
    )


# Name -> the optimizer, from `learning_rate`, `beta_1`, `beta_2`, `epsilon` and `weight_decay`.
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adamw": keras.optimizers.AdamW,
    "lamb": keras.optimizers.Lamb,
    "lion": _lion,
    "muon": _muon,
    "schedule_free": ScheduleFreeAdamW,
}


def build_optimizer(
    learning_rate: float = 2e-4,
    total_steps: int = 150000,
    warmup_steps: int = 0,
    beta_1: float = 0.9,
    beta_2: float = 0.98,
    epsilon: float = 1e-6,
    weight_decay: float = 0.01,
    name: str = "adamw",
    schedule: str = "linear",
    decay_share: float = DEFAULT_DECAY_SHARE,
    final_share: float = 0.0,
) -> keras.optimizers.Optimizer:
    """An optimizer with its learning-rate schedule; the defaults are AdamW with the reference's settings.

    Clipping is the pretrainer's, which sees all replicas' gradients.

    Args:
        learning_rate: float, the peak; the default is that of the paper's base model.
        total_steps, warmup_steps: int, updates. The paper's base model: 150,000 and 10,000.
        beta_1, beta_2, epsilon: Adam's. The reference uses 0.9, 0.98, 1e-6. Lion has no epsilon; its paper has 0.9 and
            0.99. Muon has them for what is no matrix.
        weight_decay: float, decoupled; not applied to biases and layer norms. The embedding row of `<pad>` is
            left out of training altogether by the pretrainer.
        name: one of `OPTIMIZERS`: "adamw"; "lamb" (You et al. 2020, large batches; weight decay is beside its ratio,
            as Keras has it); "lion" (Chen et al. 2023: one moment instead of two, wants a third to a tenth of AdamW's
            learning rate); "muon" (`infoxlm_keras.training.muon.MatrixMuon`, at AdamW's learning rate);
            "schedule_free" (`infoxlm_keras.training.schedule_free.ScheduleFreeAdamW`, with `schedule` "constant").
        schedule: one of `SCHEDULES`: "linear", "cosine", "stable" or "constant".
        decay_share: float in (0, 1], see `infoxlm_keras.training.schedules.WarmupStableDecay`; "stable" only.
        final_share: float in [0, 1), the share of the peak at which "cosine" and "stable" end.

    Returns:
        `keras.optimizers.Optimizer`, not yet built.

    Raises:
        InputError: for another name, or a value out of range.

    Example:
    ```python
    pretrainer.compile(optimizer=build_optimizer(2e-4, total_steps=10000, name="muon", schedule="stable"))
    ```
    """
    check_optimizer(name, schedule, beta_1)
    rates = build_schedule(schedule, learning_rate, warmup_steps, total_steps, decay_share, final_share)
    optimizer = OPTIMIZERS[name](
        learning_rate=rates, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, weight_decay=weight_decay
    )
    return without_decay_of_biases(optimizer)


def check_optimizer(name: str, schedule: str, beta_1: float) -> None:
    """Raises `InputError` for a name that is not in `OPTIMIZERS`, or a schedule or `beta_1` that it cannot have."""
    if name not in OPTIMIZERS:
        raise InputError(f"name = {name!r}: must be one of {', '.join(OPTIMIZERS)}")
    if schedule not in SCHEDULES:
        raise InputError(f"schedule = {schedule!r}: must be one of {', '.join(SCHEDULES)}")
    if name != "schedule_free":
        return
    if schedule != "constant":
        raise InputError(
            f"name = 'schedule_free': its rate does not fall, and schedule = {schedule!r} does; take "
            "schedule = 'constant'"
        )
    if beta_1 <= 0.0:
        raise InputError(f"beta_1 = {beta_1}: name = 'schedule_free' needs a value above 0")


def rate_of_last_update(optimizer: keras.optimizers.Optimizer) -> Tensor | float:
    """The learning rate that the newest update of a built optimizer used; before the first, the first one's.

    `optimizer.learning_rate` is that of the update to come. Updates that were skipped are not counted.

    Example:
    ```python
    optimizer = build_optimizer(1.0, total_steps=4)
    optimizer.build(variables)
    optimizer.apply(gradients)
    rate_of_last_update(optimizer), optimizer.learning_rate  # 0.75, 0.5
    ```
    """
    schedule = optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return optimizer.learning_rate
    return schedule(ops.maximum(optimizer._iterations - 1, 0))
