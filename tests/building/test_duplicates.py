"""Duplicates found on disk, range by range, against going through the records one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.building import repeated_records as duplicates
from infoxlm_keras.building.sorted_files import read_range, write_sorted
from infoxlm_keras.building.spills import near_keys

# Few keys, spread over all 64 bits, so that they meet and lie in many ranges.
KEYS = [(number * 0x9E3779B97F4A7C15) % (1 << 64) for number in range(9)]
RECORDS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.lists(st.sampled_from(KEYS), max_size=3)), min_size=1, max_size=40
)


def one_by_one(records):
    """The definition."""
    seen, taken, verdicts = set(), set(), []
    for exact, near in records:
        if exact in seen:
            verdicts.append(duplicates.DUPLICATE)
        elif taken & set(near):
            verdicts.append(duplicates.NEAR_DUPLICATE)
        else:
            verdicts.append(duplicates.KEPT)
            taken |= set(near)
        seen.add(exact)
    return verdicts


def write_runs(directory, name, keys, numbers, size):
    """Files of `size` keys each."""
    paths = []
    for start in range(0, len(keys), size):
        paths.append(str(directory / f"{name}{start}"))
        chosen = slice(start, start + size)
        write_sorted(paths[-1], np.array(keys[chosen], np.uint64), np.array(numbers[chosen], np.int64))
    return paths


@settings(max_examples=60)
@given(records=RECORDS, run_size=st.integers(1, 7), keys_together=st.integers(1, 8), flags_together=st.integers(1, 9))
def test_equals_going_through_one_by_one(records, run_size, keys_together, flags_together, tmp_path_factory):
    directory = tmp_path_factory.mktemp("duplicates")
    # Equal records have equal near keys.
    near_of = {}
    records = [(exact, near_of.setdefault(exact, near)) for exact, near in records]
    exact = write_runs(directory, "exact", [key for key, _ in records], list(range(len(records))), run_size)
    pairs = [(key, number) for number, (_, near) in enumerate(records) for key in near]
    near = write_runs(directory, "near", [key for key, _ in pairs], [number for _, number in pairs], run_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "KEYS_TOGETHER", keys_together)
        patch.setattr(duplicates, "FLAGS_TOGETHER", flags_together)
        found = duplicates.find_duplicates(str(directory / "verdict.npy"), len(records), exact, near, len(pairs) + 1)
    assert found.tolist() == one_by_one(records)


def test_any_range_of_keys_is_read_back(tmp_path):
    keys = np.array([5, 1 << 63, 0, (1 << 64) - 1, 5], np.uint64)
    order = write_sorted(str(tmp_path / "x"), keys, np.arange(5))
    assert order.tolist() == [2, 0, 4, 1, 3]
    for first, last, rows in [(0, (1 << 64) - 1, [2, 0, 4, 1, 3]), (5, 5, [0, 4]), (6, 1 << 63, [1]), (1, 4, [])]:
        assert read_range(str(tmp_path / "x"), first, last)[1].tolist() == rows


def test_near_keys_are_numbers_of_their_bytes():
    keys, counts = near_keys([(b"a", b"b"), (), (b"b",)])
    assert counts.tolist() == [2, 0, 1]
    assert keys[1] == keys[2] != keys[0]
