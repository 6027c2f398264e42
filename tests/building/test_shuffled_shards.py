"""The global shuffle: who belongs where, and that nothing is lost."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infoxlm_keras.building.encoded_chunk import EncodedChunk
from infoxlm_keras.building.shuffled_shards import number_of_shards, range_of, range_starts, record_keys, write_shard
from infoxlm_keras.building.spills import RecordRun, SpilledStream


@given(st.integers(1, 300), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20))
def test_ranges_cover_all_numbers_once(parts, keys):
    ranges = [range_of(part, parts) for part in range(parts)]
    assert ranges[0][0] == 0 and ranges[-1][1] == 2**64 - 1
    assert all(last + 1 == first for (_, last), (first, _) in zip(ranges, ranges[1:], strict=False))
    sizes = [last - first for first, last in ranges]
    assert max(sizes) - min(sizes) <= 1
    found = np.searchsorted(range_starts(parts), np.array(keys, np.uint64), side="right") - 1
    assert [ranges[part][0] <= key <= ranges[part][1] for key, part in zip(keys, found, strict=True)] == [True] * len(
        keys
    )


@given(st.integers(1, 10**12), st.integers(1, 10**15), st.integers(1, 10**9))
def test_shards_are_as_few_as_their_size_allows(records, size, shard_bytes):
    shards = number_of_shards(records, size, shard_bytes)
    assert 1 <= shards <= max(1, records // 8)
    assert (shards - 1) * shard_bytes < size
    assert shards * shard_bytes >= size or shards == max(1, records // 8)


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=1, max_size=30)), max_size=40))
def test_a_shard_holds_its_records_in_the_order_of_their_numbers(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("shard") / "x.tfrecord"
    sizes = np.array([len(record) for _, record in records], np.int64)
    keys = np.array([key for key, _ in records], np.uint64)
    buffer = b"".join(record for _, record in records)
    size, digest = write_shard(str(path), keys, np.cumsum(sizes) - sizes, sizes, buffer)
    expected = b"".join(record for _, record in sorted(records, key=lambda pair: pair[0]))
    assert path.read_bytes() == expected
    assert (size, digest) == (len(expected), hashlib.sha256(expected).hexdigest())
    assert [file.name for file in path.parent.iterdir()] == ["x.tfrecord"]


def test_numbers_depend_on_stream_file_and_chunk_and_are_uniform():
    lengths = np.repeat([16, 32], 4000)
    keys = record_keys("bitext", 1, "en-de", 0, 0, lengths)
    assert len(np.unique(keys)) == 8000
    for other in [("bitext", 2, "en-de", 0, 0), ("bitext", 1, "en-fr", 0, 0), ("bitext", 1, "en-de", 1, 0)]:
        assert not np.intersect1d(keys, record_keys(*other, lengths)).size
    assert not np.intersect1d(keys, record_keys("bitext", 1, "en-de", 0, 1, lengths)).size
    # Counts in 16 equal ranges: chi-squared with 15 degrees of freedom exceeds 38 once in a thousand times.
    counts = np.bincount((keys >> np.uint64(60)).astype(int), minlength=16)
    assert ((counts - 500) ** 2 / 500).sum() < 38
    # Neighbours in the input are not neighbours in the order: rank correlation near 0.
    ranks = np.argsort(np.argsort(keys))
    assert abs(np.corrcoef(ranks, np.arange(8000))[0, 1]) < 0.05


@pytest.fixture
def order(tmp_path):
    """Numbers of the records of a stream in the order of its shards, by way of spills of three chunks each."""
    used = []

    def order(count=100, shards=1, seed=0, name="de", kind="mmlm", length=512):
        folder = tmp_path / str(len(used))
        folder.mkdir()
        used.append(folder)
        paths, first = [], 0
        for start in range(0, count, 30):
            run = RecordRun(kind, seed, name)
            run.begin_part(0)
            for chunk in range(start, min(start + 30, count), 10):
                records = [b"%04d" % number for number in range(chunk, min(chunk + 10, count))]
                lengths = np.full(len(records), length)
                ones = np.ones(len(records), np.int64)
                run.add(chunk // 10, EncodedChunk(records, lengths, 5 * ones, ones, len(records), {}))
            paths.append(f"{folder}/{start}")
            first += run.write(paths[-1], first)["count"]
        stream = SpilledStream(name, length, tuple(f"{path}-{length}" for path in paths), None)
        assert stream.totals() == (count, 4 * count, 5 * count, count)
        written = b""
        for shard in range(shards):
            records, size, _ = stream.write_shard(str(folder / f"{shard}.tfrecord"), shard, shards)
            data = (folder / f"{shard}.tfrecord").read_bytes()
            assert len(data) == size == 4 * records
            written += data
        return [int(written[place : place + 4]) for place in range(0, len(written), 4)]

    return order


def test_every_record_is_in_one_shard_and_their_number_does_not_change_the_order(order):
    found = order()
    assert sorted(found) == list(range(100)) and found != sorted(found)
    assert order(shards=3) == order(shards=7) == found


def test_the_order_depends_on_seed_and_stream(order):
    orders = [order(), order(seed=1), order(name="fr")]
    orders += [order(kind="bitext", name="en-de", length=length) for length in (16, 32)]
    assert len({tuple(found) for found in orders}) == len(orders)


def test_the_shuffle_moves_records_everywhere(order):
    places = order(count=999)
    # Of a uniform permutation, a third of each third of the text lands in each third of the order.
    for third in range(3):
        landed = np.histogram(places[third * 333 : (third + 1) * 333], bins=3, range=(0, 999))[0]
        assert np.all(np.abs(landed - 111) < 40)
