"""Schedule-Free AdamW: the learning rate does not fall; a running average of the weights is measured and saved."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.training.schedules import WarmupConstant


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class ScheduleFreeAdamW(keras.optimizers.Optimizer):
    """AdamW on the point `z`; gradients are taken at `y`, the model's weights; `x` is the average of all `z`.

    With the rate `r` of update t (from 1), the gradient `g` at `y`, and its corrected second moment `v`:

        d = r (g / (sqrt(v) + epsilon) + weight_decay y)
        z' = z - d
        x' = (1 - c) x + c z',                  c = r^2 / (the sum of all r^2 so far)
        y' = (1 - beta_1) z' + beta_1 x'

    `z` is kept beside `v`: as much state as AdamW's. `averaged_weights` puts `x` into the model for a while.

    `keras.optimizers.ScheduleFreeAdamW` differs from the paper: its weight decay shrinks `x` and `y` but not `z`, its
    average counts the updates of the warm-up as much as all others, and nothing gives `x`.

    Source: Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.

    Args:
        learning_rate: float or `WarmupConstant`.
        beta_1: float in (0, 1), the share of `x` in `y`.
        beta_2, epsilon: float, Adam's.
        weight_decay: float or None.
        options: of `keras.optimizers.Optimizer`.

    Raises:
        InputError: for another schedule, or a `beta_1` out of range.

    Example:
    ```python
    pretrainer.compile(optimizer=ScheduleFreeAdamW(WarmupConstant(1e-3, 100, 10000)))
    pretrainer.fit(...)
    with pretrainer.averaged_weights():
        save_pretrained("model", pretrainer.masked_lm, tokenizer)
    ```
    """

    def __init__(
        self,
        learning_rate: Any = 2e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float | None = None,
        name: str = "schedule_free_adamw",
        **options: Any,
    ) -> None:
        if isinstance(learning_rate, dict):  # as `get_config` gives it
            learning_rate = keras.saving.deserialize_keras_object(learning_rate)
        if not isinstance(learning_rate, float | int | WarmupConstant):
            raise InputError(
                f"learning_rate = {type(learning_rate).__name__}: Schedule-Free AdamW takes a number or "
                "WarmupConstant; the average does what the fall of a rate would"
            )
        if not 0.0 < beta_1 < 1.0:
            raise InputError(f"beta_1 = {beta_1}: Schedule-Free AdamW needs a value above 0 and below 1")
        # Keras would apply a weight decay of its own to `y` alone.
        super().__init__(learning_rate=learning_rate, weight_decay=None, name=name, **options)
        self.beta_1, self.beta_2, self.epsilon, self.decay = beta_1, beta_2, epsilon, weight_decay
        self.warmup_steps = getattr(learning_rate, "warmup_steps", 0)

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._points = self.add_optimizer_variables(variables, "point")
        self._velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        point, velocity = self._points[index], self._velocities[index]
        update = ops.cast(self.iterations, "float32") + 1.0
        rate = ops.cast(learning_rate, variable.dtype)
        gradient, weight = ops.cast(gradient, variable.dtype), ops.convert_to_tensor(variable)
        # Weights may be loaded after `build`, so the first update reads them and not a copy.
        start = ops.where(update > 1.0, ops.convert_to_tensor(point), weight)
        square = self.beta_2 * velocity + (1.0 - self.beta_2) * ops.square(gradient)
        corrected = square / ops.cast(1.0 - ops.power(self.beta_2, update), variable.dtype)
        moved = rate * gradient / (ops.sqrt(corrected) + self.epsilon)
        if self.decay and self._use_weight_decay(variable):
            moved = moved + rate * self.decay * weight
        share = ops.cast(self.share(update), variable.dtype)
        self.assign(velocity, square)
        self.assign(point, start - moved)
        # The last line of the algorithm, with `x` = (y - (1 - beta_1) z) / beta_1 put in: no division, no rounding.
        self.assign(variable, weight + share * (start - weight) - (1.0 - self.beta_1 * (1.0 - share)) * moved)

    def share(self, update: Tensor) -> Tensor:
        """float32, `c` of update number `update` (float32, from 1): its rate squared, of the sum of all squares."""
        warmup = float(max(self.warmup_steps, 1))
        rising = ops.minimum(update, warmup)
        # 1 + 4 + 9 + ... = n (n + 1) (2 n + 1) / 6, one factor at a time to stay in float32's range.
        total = rising / warmup * ((rising + 1.0) / warmup) * ((2.0 * rising + 1.0) / 6.0)
        return ops.square(rising / warmup) / (total + ops.maximum(update - warmup, 0.0))

    def average(self, variable: keras.Variable) -> Tensor:
        """`x` of `variable`, one of the model's; its own value before the first update."""
        weight, point = _value(variable), _value(self._points[self._get_variable_index(variable)])
        average = point + (weight - point) / self.beta_1
        return ops.where(ops.convert_to_tensor(self.iterations) > 0, average, weight)

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "weight_decay": self.decay}
        return {**super().get_config(), **own}


@contextlib.contextmanager
def averaged_weights(optimizer: ScheduleFreeAdamW, variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Within it `variables` hold the averages that `optimizer` keeps; afterwards the same bits as before.

    Args:
        optimizer: `ScheduleFreeAdamW`, built.
        variables: those that it trains. `InfoXLMPretrainer.averaged_weights` is for a pretrainer's.

    Example: see `ScheduleFreeAdamW`.
    """
    before = [ops.copy(_value(variable)) for variable in variables]
    try:
        for variable in variables:
            variable.assign(optimizer.average(variable))
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _value(variable):
    # PyTorch would note what becomes of it, for a backward pass.
    return ops.stop_gradient(ops.convert_to_tensor(variable))
