"""Learning rates over a run: pure functions of the number of the update, so a resumed run goes on exactly."""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError

DEFAULT_DECAY_SHARE = 0.1


class _WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """Base: update s (from 1) has rate `learning_rate * s / warmup_steps` while s <= warmup_steps, then what
    `falling` says.

    Args:
        learning_rate: float > 0, the peak.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`.

    Raises:
        InputError: for a value out of range.
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
        left = (self.total_steps - update) / (self.total_steps - self.warmup_steps)
        return self.learning_rate * ops.clip(ops.minimum(rising, self.falling(left)), 0.0, 1.0)

    def falling(self, left: Tensor) -> Tensor:
        """The share of the peak, float32, where `left` (float32, from 1 down to 0) of the steps after warm-up is left.

        Beyond the last step `left` is negative, and the rate stays what it was there.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class WarmupLinearDecay(_WarmupSchedule):
    """Rises linearly to `learning_rate` over `warmup_steps` updates, then falls linearly to 0 at `total_steps`.

    Update s (from 1) has rate `learning_rate * s / warmup_steps` while s <= warmup_steps, then
    `learning_rate * (total_steps - s) / (total_steps - warmup_steps)`. InfoXLM's.

    Args:
        learning_rate: float > 0, the peak.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`.
    """

    def falling(self, left: Tensor) -> Tensor:
        return left


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class WarmupConstant(_WarmupSchedule):
    """Rises linearly to `learning_rate` over `warmup_steps` updates, and stays there.

    Args:
        learning_rate: float > 0.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`; changes nothing.
    """

    def falling(self, left: Tensor) -> Tensor:
        return ops.ones_like(left)


class _ToAShare(_WarmupSchedule):
    """Falls to `final_share` of the peak (float in [0, 1))."""

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int, final_share: float = 0.0) -> None:
        super().__init__(learning_rate, warmup_steps, total_steps)
        if not 0.0 <= final_share < 1.0:
            raise InputError(f"final_share = {final_share}: must be at least 0 and below 1")
        self.final_share = final_share

    def falling(self, left: Tensor) -> Tensor:
        # Above 1 in the warm-up, where a cosine would come down again.
        return self.final_share + (1.0 - self.final_share) * self.shape(ops.clip(left, 0.0, 1.0))

    def shape(self, left: Tensor) -> Tensor:
        """From 1 to 0, as `left` goes from 1 to 0."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "final_share": self.final_share}


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class WarmupCosineDecay(_ToAShare):
    """Rises linearly to `learning_rate`, then falls along half a cosine to `final_share` of it at `total_steps`.

    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, eq. 5, without restarts.

    Args:
        learning_rate: float > 0, the peak.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`.
        final_share: float in [0, 1).

    >>> float(WarmupCosineDecay(1.0, 0, 10)(4))  # the fifth of ten updates
    0.5
    """

    def shape(self, left: Tensor) -> Tensor:
        return (1.0 - ops.cos(math.pi * left)) / 2.0


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class WarmupStableDecay(_ToAShare):
    """Rises linearly to `learning_rate`, stays there, and falls linearly over the last `decay_share` of `total_steps`.

    A run becomes longer from a checkpoint before the fall, see docs/tasks.md. Source: Hu et al. 2024 (WSD),
    https://arxiv.org/abs/2404.06395, section 4, with a linear fall.

    Args:
        learning_rate: float > 0, the peak.
        warmup_steps: int >= 0.
        total_steps: int > `warmup_steps`.
        final_share: float in [0, 1).
        decay_share: float in (0, 1]. Warm-up and fall together must fit into `total_steps`.

    Example:
    ```python
    rates = WarmupStableDecay(1.0, 2, 10, decay_share=0.4)  # 0.5 1 1 1 1 1 0.75 0.5 0.25 0
    ```
    """

    def __init__(
        self,
        learning_rate: float,
        warmup_steps: int,
        total_steps: int,
        final_share: float = 0.0,
        decay_share: float = DEFAULT_DECAY_SHARE,
    ) -> None:
        super().__init__(learning_rate, warmup_steps, total_steps, final_share)
        if not 0.0 < decay_share <= 1.0:
            raise InputError(f"decay_share = {decay_share}: must be above 0 and at most 1")
        if warmup_steps + decay_share * total_steps > total_steps:
            raise InputError(
                f"decay_share = {decay_share}: the fall of {decay_share * total_steps:g} steps and warmup_steps = "
                f"{warmup_steps} are more than steps = {total_steps}; lower one of them"
            )
        self.decay_share = decay_share

    def shape(self, left: Tensor) -> Tensor:
        falls_over = self.decay_share * self.total_steps / (self.total_steps - self.warmup_steps)
        return ops.minimum(left / falls_over, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay_share": self.decay_share}


# Name -> the class, and which of `final_share` and `decay_share` it takes.
SCHEDULES: dict[str, tuple[Callable[..., keras.optimizers.schedules.LearningRateSchedule], tuple[str, ...]]] = {
    "linear": (WarmupLinearDecay, ()),
    "cosine": (WarmupCosineDecay, ("final_share",)),
    "stable": (WarmupStableDecay, ("final_share", "decay_share")),
    "constant": (WarmupConstant, ()),
}


def build_schedule(
    name: str,
    learning_rate: float,
    warmup_steps: int,
    total_steps: int,
    decay_share: float = DEFAULT_DECAY_SHARE,
    final_share: float = 0.0,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The schedule `name`, one of `SCHEDULES`; see their classes for the other arguments.

    Raises:
        InputError: for another name, a value out of range, or a share that the schedule does not take.
    """
    if name not in SCHEDULES:
        raise InputError(f"schedule = {name!r}: must be one of {', '.join(SCHEDULES)}")
    made, names = SCHEDULES[name]
    if "final_share" not in names and final_share != 0.0:
        ends = "falls to 0" if name == "linear" else "does not fall"
        raise InputError(f"final_share = {final_share}: the {name} schedule {ends}; take cosine or stable")
    if "decay_share" not in names and decay_share != DEFAULT_DECAY_SHARE:
        raise InputError(f"decay_share = {decay_share}: the {name} schedule has no such part; take stable")
    shares = {"final_share": final_share, "decay_share": decay_share}
    return made(learning_rate, warmup_steps, total_steps, **{name: shares[name] for name in names})
