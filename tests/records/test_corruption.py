"""Damaged, cut and missing shards end reading with an error that names shard and byte offset."""

import itertools
import pathlib

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.command_line import run_command
from infoxlm_keras.data.streams import MonolingualStream, joined_dataset
from infoxlm_keras.errors import InputError, input_error_within
from infoxlm_keras.records.example_codec import frame_record
from infoxlm_keras.records.tfrecord import read_frames, read_window
from synthetic_records import VOCABULARY_SIZE, write_monolingual

RECORDS = [b"first", b"", b"x" * 300, b"last one"]
OFFSETS = [0, 21, 37, 353]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "records.tfrecord").write_bytes(b"".join(map(frame_record, RECORDS)))
    return str(tmp_path / "records.tfrecord")


def test_frames_are_those_of_tensorflow(path):
    assert list(read_frames(path)) == list(zip(OFFSETS, RECORDS, strict=True))
    assert [data for _, data in read_frames(path)] == list(tf.data.TFRecordDataset(path).as_numpy_iterator())


@given(first=st.integers(0, 6), count=st.integers(0, 6))
def test_a_window_is_a_slice_of_the_file(first, count, tmp_path_factory):
    path = tmp_path_factory.mktemp("window") / "records.tfrecord"
    path.write_bytes(b"".join(map(frame_record, RECORDS)))
    records, end = read_window(path, first, count)
    assert records == RECORDS[first : first + count]
    following, _ = read_window(path, first + count, 2, offset=end, passed=min(first + count, 4))
    assert following == RECORDS[first + count : first + count + 2]


# name: (byte to change, or length to cut the file to, record, part of the message)
DAMAGES = {
    "length": (37, None, 2, "its length does not match its checksum"),
    "checksum of the length": (37 + 8, None, 2, "its length does not match its checksum"),
    "data": (37 + 12 + 150, None, 2, "its data do not match their checksum"),
    "checksum of the data": (352, None, 2, "its data do not match their checksum"),
    "cut in the data": (None, 100, 2, "the file ends 253 bytes before the record does"),
    "cut in the length": (None, 40, 2, "the file ends within the record's length"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_where_it_is(name, path):
    byte, length, record, reason = DAMAGES[name]
    data = bytearray(pathlib.Path(path).read_bytes())[:length]
    if byte is not None:
        data[byte] ^= 1
    pathlib.Path(path).write_bytes(data)
    found = []
    with pytest.raises(InputError, match=f"records.tfrecord: is damaged at byte 37 .record {record}.: {reason}"):
        for item in read_frames(path):
            found.append(item)
    assert [data for _, data in found] == RECORDS[:2]
    with pytest.raises(InputError, match="byte 37"):
        read_window(path, 1, 3)


def damage_shard(directory, kind):
    shard = directory / "l0-1.tfrecord"
    frame = shard.stat().st_size // 40
    data = bytearray(shard.read_bytes())
    if kind == "missing":
        shard.unlink()
        return "l0-1.tfrecord: cannot be read .No such file"
    if kind == "changed":
        data[7 * frame + 20] ^= 4
        message = f"l0-1.tfrecord: is damaged at byte {7 * frame} .record 7."
    elif kind == "cut between records":
        data = data[: 30 * frame]
        message = f"l0-1.tfrecord: ends at byte {30 * frame} after 30 records, but its manifest says .* 40"
    else:
        data = data[: 30 * frame + 5]
        message = f"l0-1.tfrecord: is damaged at byte {30 * frame} .record 30.: the file ends"
    shard.write_bytes(data)
    return message


@pytest.mark.parametrize("kind", ["changed", "cut between records", "cut in a record", "missing"])
def test_a_stream_names_shard_and_offset(kind, tmp_path, capsys):
    manifest = write_monolingual(tmp_path, [[40, 40], [20]])
    message = damage_shard(tmp_path, kind)
    dataset = joined_dataset([MonolingualStream(manifest, 4, VOCABULARY_SIZE, seed=0)])

    def command():
        for _ in itertools.islice(dataset, 40):
            pass

    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as raised:
        command()
    assert "\n" not in str(input_error_within(raised.value))
    with pytest.raises(SystemExit) as exit:
        run_command(command)
    assert exit.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: " + str(tmp_path)) and error.count("\n") == 1


def test_other_errors_stay_what_they_are():
    assert input_error_within(RuntimeError("something else")) is None
    with pytest.raises(RuntimeError, match="something else"):
        run_command(lambda: (_ for _ in ()).throw(RuntimeError("something else")))
