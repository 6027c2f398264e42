"""The smoothed bound of mutual information, against its formula."""

import numpy as np
import pytest

from infoxlm_keras import MMLM, XLCO
from infoxlm_keras.training.smoothed_mean import SmoothedMean
from tiny_pretraining import TWO_LAYERS, joint_batch, tiny_pretrainer


def test_smoothed_mean_is_its_formula():
    values, weights = [3.0, 1.0, 8.0, 2.0], [1.0, 4.0, 0.0, 2.0]
    metric = SmoothedMean("bound", decay=0.9)
    assert float(metric.result()) == 0.0
    for value, weight in zip(values, weights, strict=True):
        metric.update_state(value, sample_weight=weight)
        metric.reset_state()
    # A value of weight 0 is as if it had not been.
    expected = (3 * 0.81 * 1 + 1 * 0.9 * 4 + 2 * 2) / (0.81 * 1 + 0.9 * 4 + 2)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    metric.restart()
    metric.update_state(5.0)
    assert float(metric.result()) == 5.0


def test_bounds_are_smoothed_over_steps_and_not_over_intervals():
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS, learning_rate=0.01)
    generator = np.random.default_rng(0)
    bounds, counts = [], []
    for _ in range(4):
        batch = joint_batch(generator, tlm=0)
        batch["mmlm"]["mask_weights"][:, 1:] *= generator.random() < 0.5
        pretrainer.reset_metrics()
        logs = pretrainer.train_step((batch,))
        bounds.append(float(logs["mmlm_mi_lower_bound"]))
        counts.append(batch["mmlm"]["mask_weights"].sum())
    weights = np.array(counts) * 0.99 ** np.arange(4)[::-1]
    expected = (weights * bounds).sum() / weights.sum()
    assert len(set(bounds)) == 4
    assert float(logs["mmlm_mi_lower_bound_smoothed"]) == pytest.approx(expected, rel=1e-5)
    # log N - L with N = 50 pieces.
    assert bounds[-1] == pytest.approx(np.log(50) - float(logs["mmlm_loss"]), rel=1e-5)
