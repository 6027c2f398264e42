"""Callbacks that count the steps of the whole run, not of this `fit`."""

from typing import Any

import keras
from keras import ops


class StepCallback(keras.callbacks.Callback):
    """Base of the callbacks here: `after_step()` runs when `self.step` steps of the run are done.

    With `steps_per_execution` above 1 it runs once an execution, for the steps `self.previous_step + 1 .. self.step`.

    Args:
        start_step: int, steps done before this `fit`.
    """

    def __init__(self, start_step: int) -> None:
        super().__init__()
        self.start_step = self.previous_step = self.step = start_step

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.previous_step, self.step = self.step, self.start_step + batch + 1
        self.after_step()

    def after_step(self) -> None:
        """What to do after the step; the base does nothing."""

    def passed_multiple_of(self, every: int) -> bool:
        """Whether the steps just done hold a multiple of `every`."""
        return self.step // every > self.previous_step // every

    def counter(self, variable: keras.Variable) -> int:
        """int value of a scalar non-trainable `variable` of the model.

        `self.model` makes JAX copy the state of training back into all variables, which is too expensive for every
        step. This method reads the one value from the state.
        """
        model = self._model
        # The state exists from the first step on.
        state = getattr(model, "_jax_state", None)
        if state and not model._jax_state_synced:
            variables = model.non_trainable_variables
            index = next(number for number, known in enumerate(variables) if known is variable)
            return int(state["non_trainable_variables"][index])
        return int(ops.convert_to_numpy(variable))
