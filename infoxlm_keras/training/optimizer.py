"""AdamW with warm-up and linear decay, as InfoXLM was trained."""

from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError

# Parts of the names of biases and layer norms.
NO_DECAY = ("bias", "gamma", "beta")


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly to `learning_rate` over `warmup_steps` updates, then falls linearly to 0 at `total_steps`.

    Update s (from 1) has rate `learning_rate * s / warmup_steps` while s <= warmup_steps, then
    `learning_rate * (total_steps - s) / (total_steps - warmup_steps)`.

    Args:
        learning_rate: float > 0, the peak.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int) -> None:
        super().__init__()
        if learning_rate <= 0:
            raise InputError(f"learning_rate = {learning_rate}: must be positive")
        if not 0 <= warmup_steps < total_steps:
            raise InputError(f"warmup_steps = {warmup_steps}: must be at least 0 and below steps = {total_steps}")
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step: Tensor) -> Tensor:
        update = ops.cast(step, "float32") + 1.0
        rising = update / max(self.warmup_steps, 1)
        falling = (self.total_steps - update) / (self.total_steps - self.warmup_steps)
        return self.learning_rate * ops.clip(ops.minimum(rising, falling), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def without_decay_of_biases(optimizer: keras.optimizers.AdamW) -> keras.optimizers.AdamW:
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


def build_optimizer(
    learning_rate: float = 2e-4,
    total_steps: int = 150000,
    warmup_steps: int = 0,
    beta_1: float = 0.9,
    beta_2: float = 0.98,
    epsilon: float = 1e-6,
    weight_decay: float = 0.01,
) -> keras.optimizers.AdamW:
    """AdamW with the reference's settings; clipping is the pretrainer's, which sees all replicas' gradients.

    Args:
        learning_rate: float, the peak; the default is that of the paper's base model.
        total_steps, warmup_steps: int, updates; see `WarmupLinearDecay`. The paper's base model: 150,000 and 10,000.
        beta_1, beta_2, epsilon: Adam's. The reference uses 0.9, 0.98, 1e-6.
        weight_decay: float, decoupled; not applied to biases and layer norms. The embedding row of `<pad>` is
            left out of training altogether by the pretrainer.

    Returns:
        `keras.optimizers.AdamW`, not yet built.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=WarmupLinearDecay(learning_rate, warmup_steps, total_steps),
        beta_1=beta_1,
        beta_2=beta_2,
        epsilon=epsilon,
        weight_decay=weight_decay,
    )
    return without_decay_of_biases(optimizer)
