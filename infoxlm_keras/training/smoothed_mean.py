"""An exponentially smoothed mean, for quantities that are observed over a whole run."""

from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class SmoothedMean(keras.metrics.Metric):
    """Exponentially smoothed, weighted mean of a quantity: `sum_i d^(n-i) w_i x_i / sum_i d^(n-i) w_i`.

    The denominator removes the bias of the first values, as in Adam. The mean continues across log intervals and
    epochs: `reset_state` does not change it, `restart` clears it. Numerator and denominator are sums, so replicas can
    add them. Both are part of a checkpoint.

    Args:
        decay: float in [0, 1), d; 0.99 looks back about 100 updates.
    """

    def __init__(self, name: str, decay: float = 0.99, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.decay = decay
        scalar = {"shape": (), "initializer": "zeros", "dtype": "float32"}
        self.total = self.add_variable(name="total", **scalar)
        self.weight = self.add_variable(name="weight", **scalar)

    def update_state(self, value: Tensor, sample_weight: float | Tensor = 1.0) -> None:
        """Takes in `value` with `sample_weight`, float32 scalars; of weight 0 it changes nothing."""
        sample_weight = ops.cast(sample_weight, "float32")
        decay = ops.where(sample_weight > 0, self.decay, 1.0)
        self.total.assign(decay * self.total + sample_weight * ops.cast(value, "float32"))
        self.weight.assign(decay * self.weight + sample_weight)

    def result(self) -> Tensor:
        """float32 scalar; 0 before the first value."""
        weight = ops.convert_to_tensor(self.weight)
        total = ops.convert_to_tensor(self.total)
        return ops.where(weight > 0, total / ops.where(weight > 0, weight, 1.0), 0.0)

    def reset_state(self) -> None:
        """Nothing: Keras calls it at every interval's end."""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decay": self.decay}

    def restart(self) -> None:
        """Forgets everything."""
        for variable in (self.total, self.weight):
            variable.assign(0.0)
