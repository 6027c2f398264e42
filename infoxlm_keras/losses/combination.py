"""How the losses of several tasks become one number to minimise.

Each task gives a *sum* of losses and a count (masked tokens, or sentence pairs). Two rules are in use:

* `sum_of_means`, the paper's formula `L = L_MMLM + L_TLM + L_XLCO`: each sum is divided by its own count.
* `joint_count`, the authors' code: all sums are divided by the sum of all counts. A task's weight is then proportional
  to its number of predictions, so XLCO (one a pair) weighs far less than the masked-LM tasks.
"""

from collections.abc import Mapping

from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.choices import LOSS_COMBINATIONS
from infoxlm_keras.errors import InputError


def check_loss_combination(rule: str) -> None:
    """Raises InputError unless `rule` is one of `LOSS_COMBINATIONS`."""
    if rule not in LOSS_COMBINATIONS:
        raise InputError(f"loss_combination = {rule!r}: must be one of {', '.join(LOSS_COMBINATIONS)}")


def loss_scales(counts: Mapping[str, Tensor], weights: Mapping[str, float | Tensor], rule: str) -> dict[str, Tensor]:
    """The factor of each task's summed loss in the total.

    Args:
        counts: dict of task name to float32 scalar, the predictions of the whole update: of all replicas and
            all micro-batches.
        weights: dict of task name to float (or scalar tensor); the predictions of a task of weight 0 are not counted.
        rule: one of `LOSS_COMBINATIONS`.

    Returns:
        dict of task name to float32 scalar s, with `total = sum_t s_t * loss_sum_t`.
    """
    check_loss_combination(rule)
    if rule == "sum_of_means":
        return {name: weights[name] / ops.maximum(count, 1.0) for name, count in counts.items()}
    active = [count * ops.cast(ops.not_equal(weights[name], 0.0), "float32") for name, count in counts.items()]
    total = ops.maximum(sum(active), 1.0)
    return {name: weights[name] / total for name in counts}
