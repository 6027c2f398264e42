"""A batch that the model cannot be trained on is refused before the first step."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras import MMLM, XLCO, InputError
from tiny_pretraining import TWO_LAYERS, joint_batch, state, tiny_pretrainer


def _long(batch):
    for name in ("token_ids", "padding_mask"):
        batch["mmlm"][name] = np.pad(batch["mmlm"][name], ((0, 0), (0, 5)), constant_values=name == "token_ids")


def _id_above(batch):
    batch["mmlm"]["token_ids"][1, 2] = 50


def _id_below(batch):
    batch["xlco"]["key_token_ids"][0, 1] = -3


def _label_above(batch):
    batch["mmlm"]["mask_ids"][0, 0] = 77


def _padding(batch):
    tokens, mask = batch["xlco"]["query_token_ids"], batch["xlco"]["query_padding_mask"]
    mask[0, -1], tokens[0, -1] = 0, 0


def _position(batch):
    batch["mmlm"]["mask_positions"][0, 0] = 12


def _no_stream(batch):
    del batch["xlco"]


CASES = [
    (_id_above, r"mmlm\.token_ids: holds token id 50, but the model's ids are 0\.\.49"),
    (_id_below, r"xlco\.key_token_ids: holds token id -3"),
    (_label_above, r"mmlm\.mask_ids: holds token id 77"),
    (_long, r"mmlm\.token_ids: sequences have 17 tokens, but the model has 16 positions"),
    (_padding, r"xlco\.query_token_ids: is padded with id 0, but <pad> is 1"),
    (_position, r"mmlm\.mask_positions: holds 12, but sequences end at 11"),
    (_no_stream, r"the batch holds mmlm, and lacks the part of the task xlco; add"),
]


@pytest.fixture(scope="module")
def pretrainer():
    return tiny_pretrainer([MMLM(), XLCO(queue_length=8)], size=TWO_LAYERS)


@pytest.mark.parametrize(("spoil", "message"), CASES)
@pytest.mark.parametrize("as_dataset", [True, False])
def test_a_batch_that_does_not_fit_is_refused(pretrainer, spoil, message, as_dataset):
    batch = joint_batch(np.random.default_rng(0), tlm=0)
    before = state(pretrainer)
    spoil(batch)
    data = tf.data.Dataset.from_tensors((batch,)) if as_dataset else batch
    with pytest.raises(InputError, match=message):
        pretrainer.fit(data, steps_per_epoch=1, epochs=1, verbose=0)
    with pytest.raises(InputError, match=message):
        pretrainer.evaluate(data, steps=1, verbose=0)
    good = joint_batch(np.random.default_rng(0), tlm=0)
    with pytest.raises(InputError, match=message):
        pretrainer.fit(good, steps_per_epoch=1, validation_data=data, validation_steps=1, verbose=0)
    for one, other in zip(state(pretrainer), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_check_takes_nothing_from_the_data(pretrainer):
    """Two batches, two steps: the first is looked at, and still trained on."""
    batches = [joint_batch(np.random.default_rng(seed), tlm=0) for seed in (1, 2)]
    data = tf.data.Dataset.from_tensor_slices(tf.nest.map_structure(lambda *parts: np.stack(parts), *batches))
    before = int(pretrainer.optimizer.iterations)
    pretrainer.fit(data.map(lambda batch: (batch,)), steps_per_epoch=2, epochs=1, verbose=0)
    assert int(pretrainer.optimizer.iterations) == before + 2


def test_a_data_set_is_opened_for_the_check_once(pretrainer):
    opened = []

    def batches():
        opened.append(None)
        yield joint_batch(np.random.default_rng(0), tlm=0)

    specification = tf.nest.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), next(batches()))
    opened.clear()
    data = tf.data.Dataset.from_generator(batches, output_signature=specification)
    for times in (2, 3):
        pretrainer.evaluate(data, steps=1, verbose=0)
        assert len(opened) == times
    pretrainer.evaluate(data.take(1), steps=1, verbose=0)
    assert len(opened) == 5
