"""Model FLOPs: by hand for the paper's sizes, for shapes that are not static, and for parts of a batch.

`tests/training/test_backends.py` compares them with what PyTorch counts.
"""

import types

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras import MMLM, TLM, XLCO
from infoxlm_keras.models.flops import TRAINED, encoder_flops, masked_lm_head_flops
from infoxlm_keras.runs.callbacks.interval_log import speeds
from tiny_pretraining import joint_batch, tiny_pretrainer
from toy_task import MODULE


@pytest.fixture(scope="module")
def pretrainer():
    return tiny_pretrainer([MMLM(), TLM(), XLCO(queue_length=13, universal_layer=2, in_batch_negatives=True)])


@pytest.fixture(scope="module")
def batch():
    return joint_batch(np.random.default_rng(0), mmlm=4, tlm=6, xlco=8)


def test_base_costs_six_operations_a_weight_and_token_but_for_attention():
    """The rule of thumb 6 N (Kaplan et al. 2020), for N = 85 million weights of matrices."""
    base = types.SimpleNamespace(hidden_dim=768, intermediate_dim=3072, vocabulary_size=250_002)
    weights = 12 * (4 * 768**2 + 2 * 768 * 3072)
    tokens = 8 * 512
    attention = 12 * 2 * 2 * 8 * 512**2 * 768  # scores and weighted sum
    assert TRAINED * encoder_flops(base, 12, 8, 512) == 6 * weights * tokens + TRAINED * attention
    assert masked_lm_head_flops(base, 10) == 2 * 10 * 768 * (768 + 250_002)


def test_shapes_that_are_not_static(pretrainer, batch):
    def without_length(array):
        return tf.TensorSpec([array.shape[0], *[None] * (array.ndim - 1)], array.dtype)

    signature = [tf.nest.map_structure(without_length, batch)]
    traced = tf.function(lambda batch: pretrainer.token_counts(batch)["tflop"], input_signature=signature)
    assert float(traced(batch)) * 1e12 == pytest.approx(pretrainer.flops(batch), rel=1e-6)


def test_parts_of_a_batch_add_up_to_it(pretrainer, batch):
    """Each replica's queries meet the keys of all."""
    half = tf.nest.map_structure(lambda array: array[: len(array) // 2], batch)
    parts = 2 * float(pretrainer.token_counts(half, 2)["tflop"])
    assert parts == pytest.approx(float(pretrainer.token_counts(batch)["tflop"]), rel=1e-6)


def test_a_task_that_states_no_flops():
    """A run with it has no such columns, whatever the other tasks state."""
    namespace = {}
    exec(MODULE, namespace)
    pretrainer = tiny_pretrainer([MMLM(), namespace["UpperHalf"]()])
    assert "tflop_per_step" not in [metric.name for metric in pretrainer.metrics]
    assert "tflop" not in pretrainer.token_counts(joint_batch(np.random.default_rng(0), mmlm=4))


def test_speeds():
    known = {"tokens_per_step": 1e4, "tflop_per_step": 5.0}
    assert speeds(known, 2.0, 4e13) == {"tokens_per_second": 2e4, "tflop_per_second": 10.0, "mfu": 0.25}
    assert speeds(known, 2.0) == {"tokens_per_second": 2e4, "tflop_per_second": 10.0}
    assert speeds({"tokens_per_step": 1e4}, 2.0, 4e13) == {"tokens_per_second": 2e4}
