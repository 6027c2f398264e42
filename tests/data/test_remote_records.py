"""Shards in a store: the records of a disk, read by ranges, one window ahead of their use."""

import threading
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.data.order import RecordOrder
from infoxlm_keras.data.record_reader import RecordReader
from infoxlm_keras.data.split import StreamPart
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import object_ranges, storage
from infoxlm_keras.records.example_codec import frame_record
from infoxlm_keras.records.tfrecord import read_frames


def shards_of(sizes):
    """list of bytes, a TFRecord file for each of `sizes`; a record holds its number, and is 1000 bytes long."""
    numbers = np.cumsum([0, *sizes])
    return [
        b"".join(frame_record(b"%1000d" % number) for number in range(first, last))
        for first, last in zip(numbers[:-1], numbers[1:], strict=True)
    ]


def readers(directory, sizes, window, firsts=None, key=7):
    """(reader of shards in a store, reader of the same shards on the disk)."""
    firsts = np.zeros(len(sizes), np.int64) if firsts is None else np.array(firsts)
    address = f"memory://{uuid.uuid4().hex}"
    found = []
    for kind in ("remote", "local"):
        paths = []
        for number, content in enumerate(shards_of(sizes)):
            name = f"{number}.tfrecord"
            paths.append(f"{address}/{name}" if kind == "remote" else str(directory / name))
            if kind == "remote":
                storage.write_bytes(paths[-1], content)
            else:
                (directory / name).write_bytes(content)
        left = np.array(sizes, np.int64) - firsts
        part = StreamPart("de", 16, 0, paths, firsts, left)
        found.append(RecordReader(part, RecordOrder(left, key, window)))
    return found


@given(st.data())
def test_records_are_those_of_the_disk(tmp_path_factory, data):
    sizes = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))
    firsts = [data.draw(st.integers(0, size - 1)) for size in sizes]
    remote, local = readers(tmp_path_factory.mktemp("shards"), sizes, data.draw(st.integers(1, 5)), firsts)
    start = 0
    for _ in range(data.draw(st.integers(1, 6))):
        start, count = start + data.draw(st.sampled_from([0, 0, 0, 7])), data.draw(st.integers(1, 9))
        assert remote.read(start, count) == local.read(start, count)
        start += count


def test_the_next_window_is_there_before_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(object_ranges, "RANGE_BYTES", 1)
    remote, local = readers(tmp_path, [600, 600], window=200)
    asked = []
    read_range = object_ranges.read_range

    def noting(address, start, stop):
        asked.append((threading.current_thread() is threading.main_thread(), stop - start))
        return read_range(address, start, stop)

    monkeypatch.setattr(object_ranges, "read_range", noting)
    # A first window, and the rest of two epochs: only the first is waited for.
    remote.read(0, 200)
    waited = sum(size for here, size in asked if here)
    expected = local.read(0, 2400)
    assert [record for start in range(0, 2400, 50) for record in remote.read(start, 50)] == expected
    assert sum(size for here, size in asked if here) == waited
    # What is fetched ahead is not much more than what is used.
    assert sum(size for here, size in asked if not here) < 2 * 2400 * 1016


def test_damage_is_named_as_on_the_disk(tmp_path):
    remote, local = readers(tmp_path, [20], window=5)
    content = bytearray(storage.read_bytes(remote.part.paths[0]))
    content[7 * 1016 + 300] ^= 1
    storage.write_bytes(remote.part.paths[0], bytes(content))
    (tmp_path / "0.tfrecord").write_bytes(content)
    messages = []
    for reader in (remote, local):
        with pytest.raises(InputError) as error:
            reader.read(0, 20)
        messages.append(str(error.value).replace(reader.part.paths[0], "SHARD"))
    assert messages[0] == messages[1] and "is damaged at byte 7112 (record 7)" in messages[0]


def test_frames_of_a_whole_shard(tmp_path):
    remote, local = readers(tmp_path, [9], window=5)
    assert list(read_frames(remote.part.paths[0])) == list(read_frames(local.part.paths[0]))
