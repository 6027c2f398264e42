"""Schedule-Free AdamW: the learning rate does not fall; a running average of the weights is measured and saved."""

import contextlib
import numbers
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

    `z - y` is kept beside `v`: as much state as AdamW's. `averaged_weights` puts `x` into the model for a while. Where
    weights are replaced in the middle of training, the averages move with them.

    `keras.optimizers.ScheduleFreeAdamW` differs from the paper: its weight decay shrinks `x` and `y` but not `z`, its
    average counts the updates of the warm-up as much as all others, and nothing gives `x`.

    Source: Defazio et al. 2024, https://arxiv.org/abs/2405.15682, algorithm 1.

    Args:
        learning_rate: float or `WarmupConstant`. Of a float that is changed in training, `c` does not know.
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
        if isinstance(learning_rate, numbers.Real):
            learning_rate = float(learning_rate)
        elif not isinstance(learning_rate, WarmupConstant):
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
        self.shows_averages = False  # within `averaged_weights`

    def build(self, variables: Sequence[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._offsets = self.add_optimizer_variables(variables, "offset")
        self._velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        index = self._get_variable_index(variable)
        offset, velocity = self._offsets[index], self._velocities[index]
        update = ops.cast(self.iterations, "float32") + 1.0
        rate = ops.cast(learning_rate, variable.dtype)
        gradient, weight = ops.cast(gradient, variable.dtype), ops.convert_to_tensor(variable)
        square = self.beta_2 * velocity + (1.0 - self.beta_2) * ops.square(gradient)
        corrected = square / ops.cast(1.0 - ops.power(self.beta_2, update), variable.dtype)
        moved = rate * gradient / (ops.sqrt(corrected) + self.epsilon)
        if self.decay and self._use_weight_decay(variable):
            moved = moved + rate * self.decay * weight
        share = ops.cast(self.share(update), variable.dtype)
        # The algorithm's three lines for y and z - y. An offset begins with 0 whenever its weight is first updated.
        start = ops.convert_to_tensor(offset)
        after = weight + share * start - (1.0 - self.beta_1 * (1.0 - share)) * moved
        # Tensors of PyTorch and TensorFlow change with their variables, so all values come first.
        for changed, value in ((offset, (1.0 - share) * (start - self.beta_1 * moved)), (velocity, square)):
            self.assign(changed, value)
        self.assign(variable, after)

    def share(self, update: Tensor) -> Tensor:
        """float32, `c` of update number `update` (float32, from 1): its rate squared, of the sum of all squares."""
        warmup = float(max(self.warmup_steps, 1))
        rising = ops.minimum(update, warmup)
        # 1 + 4 + 9 + ... = n (n + 1) (2 n + 1) / 6, one factor at a time to stay in float32's range.
        total = rising / warmup * ((rising + 1.0) / warmup) * ((2.0 * rising + 1.0) / 6.0)
        return ops.square(rising / warmup) / (total + ops.maximum(update - warmup, 0.0))

    def average(self, variable: keras.Variable) -> Tensor:
        """`x` of `variable`, one of those that it was built for."""
        offset = self._offsets[self._get_variable_index(variable)]
        return _value(variable) - _value(offset) * (1.0 / self.beta_1 - 1.0)

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "weight_decay": self.decay}
        return {**super().get_config(), **own}


def schedule_free(optimizer: Any) -> ScheduleFreeAdamW | None:
    """The `ScheduleFreeAdamW` that `optimizer` is, or that Keras' loss scaling wraps; None if it is another one."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer if isinstance(optimizer, ScheduleFreeAdamW) else None


@contextlib.contextmanager
def averaged_weights(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Within it the weights hold the averages that `optimizer` keeps; afterwards the same bits as before.

    Nothing changes for another optimizer, before the first `fit`, and in a block within another one.
    `InfoXLMPretrainer.averaged_weights` is for a pretrainer.

    Args:
        optimizer: `ScheduleFreeAdamW`, or any other.

    Example: see `ScheduleFreeAdamW`.
    """
    free = schedule_free(optimizer)
    if free is None or not free.built or free.shows_averages:
        yield
        return
    variables = free._trainable_variables
    before = [ops.copy(_value(variable)) for variable in variables]
    free.shows_averages = True
    try:
        for variable in variables:
            variable.assign(free.average(variable))
        yield
    finally:
        free.shows_averages = False
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def _value(variable):
    # PyTorch would note what becomes of it, for a backward pass.
    return ops.stop_gradient(ops.convert_to_tensor(variable))
