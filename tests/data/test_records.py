"""The bytes of records against TensorFlow's own."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.records.example_codec import encode_examples, encode_varints, frame_record

INT64 = st.one_of(st.integers(0, 300_000), st.integers(-(2**63), 2**63 - 1))
ROWS = st.lists(st.tuples(st.lists(INT64, max_size=90), st.lists(INT64, max_size=90)), max_size=6)


def ragged(rows):
    values = np.array([value for row in rows for value in row], np.int64)
    return values, np.cumsum([0, *map(len, rows)])


def tensorflow_example(features):
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in features.items()
            }
        )
    ).SerializeToString(deterministic=True)


@given(ROWS)
def test_examples_are_the_bytes_of_tensorflow(rows):
    sources, targets = [row[0] for row in rows], [row[1] for row in rows]
    encoded = encode_examples({"target_ids": ragged(targets), "source_ids": ragged(sources)})
    expected = [tensorflow_example({"source_ids": row[0], "target_ids": row[1]}) for row in rows]
    assert encoded == expected


def test_a_block_long_enough_for_three_byte_lengths_is_the_bytes_of_tensorflow():
    token_ids = np.arange(20_000) * 12
    encoded = encode_examples({"token_ids": (token_ids, [0, 20_000])})
    assert encoded == [tensorflow_example({"token_ids": token_ids})]


def test_varints_of_known_values():
    buffer, offsets = encode_varints([0, 1, 127, 128, 300, 2**21, -1])
    expected = ["00", "01", "7f", "8001", "ac02", "80808001", "ffffffffffffffffff01"]
    assert [buffer[a:b].hex() for a, b in zip(offsets[:-1], offsets[1:], strict=True)] == expected


def test_frames_are_the_bytes_of_tensorflow(tmp_path):
    records = [b"", b"a", bytes(range(256)) * 50]
    with tf.io.TFRecordWriter(str(tmp_path / "tensorflow.tfrecord")) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / "tensorflow.tfrecord").read_bytes() == b"".join(map(frame_record, records))


def test_tensorflow_reads_what_is_written(tmp_path):
    rows = [[0, 10, 2], [0, 249_999, 5, 2], []]
    path = tmp_path / "records.tfrecord"
    path.write_bytes(b"".join(map(frame_record, encode_examples({"token_ids": ragged(rows)}))))
    serialized = next(iter(tf.data.TFRecordDataset(str(path)).batch(8)))
    parsed = tf.io.parse_example(serialized, {"token_ids": tf.io.RaggedFeature(tf.int64)})
    assert parsed["token_ids"].to_list() == rows


def test_tensorflow_notices_a_changed_byte(tmp_path):
    data = bytearray(frame_record(b"some record"))
    data[14] ^= 1
    path = tmp_path / "damaged.tfrecord"
    path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        list(tf.data.TFRecordDataset(str(path)))
