"""How slowly the key encoder follows the query encoder, step by step."""

import dataclasses
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.choices import MOMENTUM_SCHEDULES
from infoxlm_keras.errors import InputError


@keras.saving.register_keras_serializable(package="infoxlm_keras")
@dataclasses.dataclass(frozen=True)
class MomentumSchedule:
    """The momentum m of `key <- m key + (1 - m) query` at each update (schedules of the reference code).

    | kind | m at update s (from 1) |
    |---|---|
    | `constant` | `value` |
    | `constant_with_refresh` | `value`, but 0 at every `refresh_every`-th update: a copy of the query encoder |
    | `linear` | from `value` at `start_step` to `final_value` at `end_step`, flat outside |
    | `exponential` | `1 - s ** -exponent`, clipped to [`value`, `final_value`] |

    Attributes:
        kind: str, a row of the table.
        value: float in [0, 1]. 0.9999 for the paper's base model; 0.999 for large.
        final_value: float in [0, 1], for `linear` and `exponential`.
        start_step, end_step: int, for `linear`.
        refresh_every: int, for `constant_with_refresh`.
        exponent: float > 0, for `exponential`.
    """

    kind: str = "constant"
    value: float = 0.9999
    final_value: float = 0.9999
    start_step: int = 0
    end_step: int = 1
    refresh_every: int = 1000
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in MOMENTUM_SCHEDULES:
            raise InputError(f"momentum kind = {self.kind!r}: must be one of {', '.join(MOMENTUM_SCHEDULES)}")
        for name in ("value", "final_value"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"momentum {name} = {getattr(self, name)}: must be within 0..1")
        if self.kind == "linear" and self.end_step <= self.start_step:
            raise InputError(f"momentum end_step = {self.end_step}: must come after start_step = {self.start_step}")
        if self.kind == "constant_with_refresh" and self.refresh_every < 1:
            raise InputError(f"momentum refresh_every = {self.refresh_every}: must be at least 1")
        if self.kind == "exponential" and (self.exponent <= 0 or self.final_value < self.value):
            raise InputError("momentum exponential: needs exponent > 0 and final_value >= value")

    def get_config(self) -> dict[str, Any]:
        """The attributes, a dict."""
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MomentumSchedule":
        """The schedule that `get_config` describes."""
        return cls(**config)

    def __call__(self, step: Tensor | int) -> Tensor:
        """Momentum after `step` updates (int32 scalar tensor, the first is 1), as a float32 scalar."""
        step_number = ops.cast(step, "float32")
        value = ops.cast(self.value, "float32")
        if self.kind == "constant":
            return value
        if self.kind == "constant_with_refresh":
            refresh = ops.equal(ops.cast(step, "int32") % self.refresh_every, 0)
            return ops.where(refresh, ops.zeros_like(value), value)
        if self.kind == "linear":
            share = (step_number - self.start_step) / float(self.end_step - self.start_step)
            return value + (self.final_value - self.value) * ops.clip(share, 0.0, 1.0)
        return ops.clip(1.0 - ops.power(ops.maximum(step_number, 1.0), -self.exponent), self.value, self.final_value)
