"""The exponential moving average (EMA) that makes the key encoder follow the query encoder."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class MovingAverage(keras.layers.Layer):
    """`key <- m key + (1 - m) query` for pairs of variables, in float32 under every precision policy.

    The gain of a layer norm lies near 1, where neighbouring float32 numbers are 1.2e-7 apart. An update of 1 - m =
    1e-4 times a difference of 1e-3 is no larger than that, so rounding would stop or bias the average. The rounding
    error of each one-dimensional variable (gains, biases) is therefore stored and added at the next update (Kahan
    summation). Kernels and embeddings have far smaller values and need no compensation.

    The variables belong to the model and are given at each call, so that the layer's configuration needs none; `of`
    makes the layer for them.

    Args:
        compensated_weights: int, number of weights in the one-dimensional key variables.

    Attributes:
        rounding_errors: float32 variable, one number for each weight of the one-dimensional key variables.
    """

    def __init__(self, compensated_weights: int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**{"trainable": False, **kwargs})
        self.compensated_weights = compensated_weights
        self.rounding_errors = self.add_weight(
            name="rounding_errors",
            shape=(compensated_weights,),
            initializer="zeros",
            trainable=False,
            dtype="float32",
            autocast=False,
        )
        self.built = True

    @classmethod
    def of(cls, pairs: Sequence[tuple[keras.Variable, keras.Variable]], **kwargs: Any) -> "MovingAverage":
        """The layer for `pairs`, list of (key variable, query variable), of equal shapes; `kwargs` of a layer."""
        return cls(sum(key.shape[0] for key, _ in pairs if _is_compensated(key)), **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "compensated_weights": self.compensated_weights}

    def reset(self, pairs: Sequence[tuple[keras.Variable, keras.Variable]]) -> None:
        """Sets each key variable of `pairs` to its query variable's value, without sharing its buffer."""
        for key, query in pairs:
            # A copy: on JAX a shared buffer would be donated twice by the training step.
            key.assign(ops.copy(ops.convert_to_tensor(query)))
        self.rounding_errors.assign(ops.zeros_like(ops.convert_to_tensor(self.rounding_errors)))

    def update(self, pairs: Sequence[tuple[keras.Variable, keras.Variable]], momentum: Tensor) -> None:
        """One step of the average.

        Args:
            pairs: list of (key variable, query variable), as the layer was made with.
            momentum: float32 scalar m; 1 leaves the keys unchanged, 0 copies the queries exactly.
        """
        errors = ops.convert_to_tensor(self.rounding_errors)
        if keras.backend.backend() == "torch":
            from infoxlm_keras.contrast.torch_average import move_in_place

            compensated = [_is_compensated(key) for key, _ in pairs]
            move_in_place([(key.value, query.value) for key, query in pairs], compensated, errors, momentum)
            return
        left, start = [], 0
        for key, query in pairs:
            key_value = ops.cast(ops.convert_to_tensor(key), "float32")
            query_value = ops.stop_gradient(ops.cast(ops.convert_to_tensor(query), "float32"))
            # (1 - m) (query - key) keeps the small difference that m * key would round away.
            step = (1.0 - momentum) * (query_value - key_value)
            if _is_compensated(key):
                error = errors[start : start + key.shape[0]]
                start += key.shape[0]
                # The average's true value is key + error.
                step = step + momentum * error
            moved = ops.where(ops.equal(momentum, 0.0), query_value, key_value + step)
            if _is_compensated(key):
                left.append(ops.where(ops.equal(momentum, 0.0), 0.0, step - (moved - key_value)))
            key.assign(moved)
        if left:
            self.rounding_errors.assign(ops.concatenate(left))


def _is_compensated(variable):
    return len(variable.shape) == 1
