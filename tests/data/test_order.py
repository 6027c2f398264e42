"""The order of data: probabilities, countable draws, and records that each come once an epoch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.data.order import RecordOrder, StratifiedSchedule
from infoxlm_keras.errors import InputError
from infoxlm_keras.language_sampling import language_probabilities, stream_probabilities


def test_language_probabilities_in_closed_form():
    assert np.allclose(language_probabilities([100, 300], 1.0), [0.25, 0.75])
    assert np.allclose(language_probabilities([100, 300, 0], 0.0), [0.5, 0.5, 0.0])
    # (1/17)^.5 : (16/17)^.5 = 1 : 4
    assert np.allclose(language_probabilities([10, 160], 0.5), [0.2, 0.8])


@pytest.mark.parametrize("exponent", [-0.1, 1.1])
def test_exponent_out_of_range(exponent):
    with pytest.raises(InputError, match="must be within 0..1"):
        language_probabilities([1, 2], exponent)


def test_no_records_at_all():
    with pytest.raises(InputError, match="no language has any records"):
        language_probabilities([0, 0], 0.7)


probabilities = st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any).map(lambda w: np.array(w) / sum(w))


@settings(max_examples=60, deadline=None)
@given(probabilities, st.integers(0, 2**63), st.integers(0, 3000), st.integers(0, 200))
def test_counts_are_those_of_the_draws(shares, key, start, length):
    schedule = StratifiedSchedule(shares, key)
    drawn = schedule.draw(0, start + length)
    assert np.array_equal(schedule.counts(start), np.bincount(drawn[:start], minlength=len(shares)))
    assert np.array_equal(schedule.draw(start, length), drawn[start:])
    assert schedule.counts(start).sum() == start


def test_draws_keep_close_to_the_probabilities_everywhere():
    shares = np.array([0.6, 0.3, 0.09, 0.01])
    schedule = StratifiedSchedule(shares, 123456789)
    drawn = schedule.draw(0, 100_000)
    for start in range(0, 99_000, 7919):
        window = np.bincount(drawn[start : start + 1000], minlength=4)
        assert np.all(np.abs(window - 1000 * shares) <= 6)


def test_counts_far_out_need_no_replay():
    shares = np.array([0.5, 0.5])
    assert np.all(np.abs(StratifiedSchedule(shares, 5).counts(10**15) - 5 * 10**14) < 10**7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any), st.integers(0, 2**63), st.integers(1, 6))
def test_every_record_once_an_epoch(sizes, key, window):
    order = RecordOrder(sizes, key, window)
    total = sum(sizes)
    expected = sorted((shard, record) for shard, size in enumerate(sizes) for record in range(size))
    for epoch in range(3):
        records = [order.record(rank) for rank in range(epoch * total, (epoch + 1) * total)]
        assert {record[0] for record in records} == {epoch}
        assert sorted(record[1:] for record in records) == expected


def test_epochs_are_shuffled_differently():
    order = RecordOrder([500], key=1, window=2048)
    first, second = ([order.record(rank)[2] for rank in range(start, start + 500)] for start in (0, 500))
    assert first != second and first != sorted(first)


def test_a_stream_without_records_is_refused():
    with pytest.raises(InputError, match="without records"):
        RecordOrder([0], key=1)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.7, 1.0])
def test_a_pair_under_both_directions_is_one_pair(exponent):
    """OPUS sorts the codes of a name, other collections do not."""
    found = stream_probabilities({"en-tr": 100, "tr-en": 50, "de-en": 150, "de": 30}, exponent)
    expected = language_probabilities([150, 150, 30], exponent)
    assert list(found.values()) == pytest.approx([expected[0] * 2 / 3, expected[0] / 3, expected[1], expected[2]])
    plain = {"en-tr": 150, "de-en": 150, "de": 30}
    assert list(stream_probabilities(plain, exponent).values()) == expected.tolist()
