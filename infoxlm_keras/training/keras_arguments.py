"""Checks the arguments of the pretrainer's `compile` and `fit`."""

from collections.abc import Mapping
from typing import Any

import keras

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe

# Arguments of `keras.Model.compile` that the training step does not use.
TAKEN_FROM_TASKS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def check_compile_arguments(optimizer: Any, others: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    """The `keras.optimizers.Optimizer` that `optimizer` is, names or describes.

    Args:
        optimizer: `keras.optimizers.Optimizer`, its name (`"adam"`) or its configuration (dict).
        others: dict of the other arguments of `compile`.

    Raises:
        InputError: if it is not an optimizer, or if `others` has a loss or a metric, which the step would ignore.
    """
    unused = [name for name in TAKEN_FROM_TASKS if others.get(name) is not None]
    if unused:
        raise InputError(f"compile({unused[0]}=...): losses and metrics are those of the tasks; leave it out")
    remedy = "give for instance build_optimizer(learning_rate=2e-4, total_steps=1000)"
    if optimizer is None:
        raise InputError(f"compile(optimizer=None): training needs one; {remedy}")
    try:
        found = keras.optimizers.get(optimizer)
    except (TypeError, ValueError) as error:
        detail = describe(error)
        raise InputError(
            f"compile(optimizer={optimizer!r:.60}): is no optimizer of Keras ({detail}); {remedy}"
        ) from None
    if type(found) is keras.optimizers.ScheduleFreeAdamW:
        raise InputError(
            "compile(optimizer=ScheduleFreeAdamW): Keras' own does not give its averages, which are what it trains; "
            "take build_optimizer(..., name='schedule_free', schedule='constant')"
        )
    return found
