"""The global shuffle: who belongs where, and that nothing is lost."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_prep.shuffled_shards import number_of_shards, range_of, range_starts, record_keys, write_shard


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
