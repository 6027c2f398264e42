"""Shares of a global batch: together they are the batch, micro-batch by micro-batch."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.data.sharding import parts_end_to_end, shard_batch
from infoxlm_keras.errors import InputError

SIZES = st.integers(1, 4)


def numbered_batch(samples):
    """Two tasks of different batch sizes; every value is different."""
    wide = np.arange(samples * 6, dtype=np.int32).reshape(samples, 6)
    return {"mmlm": {"token_ids": wide, "mask_weights": wide[:, 0] * 0.5}, "xlco": {"key_token_ids": wide[::2] + 1000}}


def test_a_worker_takes_its_slice_of_every_micro_batch():
    batch = {"mmlm": {"token_ids": np.arange(12)}}
    shares = [shard_batch(batch, index, 2, accumulation_steps=3)["mmlm"]["token_ids"].tolist() for index in range(2)]
    # Micro-batches 0..3, 4..7, 8..11: worker 0 takes the first half of each.
    assert shares == [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]


@given(SIZES, SIZES, SIZES)
def test_workers_in_order_are_each_global_micro_batch(count, accumulation_steps, share):
    samples = 2 * count * accumulation_steps * share
    batch = numbered_batch(samples)
    shares = [shard_batch(batch, index, count, accumulation_steps) for index in range(count)]
    for task, tensors in batch.items():
        for name, values in tensors.items():
            for number in range(accumulation_steps):
                parts = [np.split(worker[task][name], accumulation_steps)[number] for worker in shares]
                expected = np.split(values, accumulation_steps)[number]
                np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_one_worker_takes_all():
    batch = numbered_batch(8)
    taken = shard_batch(batch, 0, 1, 2)
    np.testing.assert_array_equal(taken["mmlm"]["token_ids"], batch["mmlm"]["token_ids"])


def test_tensors_in_a_dataset_keep_static_shapes_and_equal_numpy():
    batch = numbered_batch(8)
    dataset = tf.data.Dataset.from_tensors(batch).map(lambda one: shard_batch(one, 1, 2, 2))
    assert dataset.element_spec["mmlm"]["token_ids"].shape == [4, 6]
    assert dataset.element_spec["xlco"]["key_token_ids"].shape == [2, 6]
    expected = shard_batch(batch, 1, 2, 2)
    for found in dataset.as_numpy_iterator():
        for task in batch:
            for name in batch[task]:
                np.testing.assert_array_equal(found[task][name], expected[task][name])


def test_the_worker_may_be_a_tensor_and_the_batch_size_unknown():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32), tf.TensorSpec([], tf.int32)])
    def second(values, index):
        return shard_batch({"values": values}, index, 3, 2)["values"]

    values = np.arange(18, dtype=np.int32).reshape(6, 3)
    np.testing.assert_array_equal(second(values, 2), values[[2, 5]])
    with pytest.raises(tf.errors.InvalidArgumentError):
        second(values[:5], 0)


@pytest.mark.parametrize(
    ("index", "count", "accumulation_steps", "message"),
    [
        (0, 3, 1, "mmlm: 8 samples a step .* cannot be divided among 3 workers; make batch_size a multiple of 3"),
        (0, 4, 4, "mmlm: 8 samples a step .batch_size times accumulation_steps = 4"),
        (2, 2, 1, r"worker 2: with 2 workers they are numbered 0\.\.1"),
        (-1, 2, 1, "worker -1"),
        (0, 0, 1, "0 workers"),
        (0, 1, 0, "0 micro-batches"),
    ],
)
def test_what_cannot_be_shared_is_refused(index, count, accumulation_steps, message):
    with pytest.raises(InputError, match=message):
        shard_batch(numbered_batch(8), index, count, accumulation_steps)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_parts_laid_end_to_end_are_those_of_the_workers(count, accumulation_steps, share):
    samples = count * accumulation_steps * share
    batch = {"mmlm": {"token_ids": np.arange(samples * 2).reshape(samples, 2), "weight": np.arange(samples)}}
    laid = parts_end_to_end(batch, count, accumulation_steps)
    for index in range(count):
        part = shard_batch(batch, index, count, accumulation_steps)
        rows = slice(index * samples // count, (index + 1) * samples // count)
        for name in ("token_ids", "weight"):
            assert np.array_equal(laid["mmlm"][name][rows], part["mmlm"][name])


@pytest.mark.parametrize(
    "cut", [lambda batch: shard_batch(batch, 1, 2, 2), lambda batch: parts_end_to_end(batch, 2, 2)]
)
def test_lengths_that_are_known_at_run_time_only(cut):
    """Those of a stream with several buckets."""
    batches = [{"tlm": {"token_ids": np.arange(8 * length).reshape(8, length)}} for length in (3, 5)]
    signature = {"tlm": {"token_ids": tf.TensorSpec([8, None], tf.int64)}}
    dataset = tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=signature)
    for found, batch in zip(dataset.map(cut), batches, strict=True):
        np.testing.assert_array_equal(found["tlm"]["token_ids"], cut(batch)["tlm"]["token_ids"])
