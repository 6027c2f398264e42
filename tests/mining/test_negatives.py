"""The choice of hard negatives: ranks, limits and sampling, by closed forms and by brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.mining.negative_pool import NegativePool
from infoxlm_keras.mining.negatives import NegativeSettings, choose_negatives
from infoxlm_keras.text.embedding_samples import EmbeddingSamples

# One query, six candidates; 11 and 14 belong to it. The ranks of the others are 1, 2, 3, 4.
COSINES = np.array([[0.99, 0.9, 0.8, 0.7, 0.6, 0.5]], np.float32)
NUMBERS = np.array([[10, 11, 12, 13, 14, 15]])
KNOWN = np.array([[False, True, False, False, True, False]])
ALL = {"max_score_share": float("inf"), "max_rank": 10}


def chosen(positive=0.9, **values):
    result = choose_negatives(COSINES, NUMBERS, KNOWN, np.array([positive]), NegativeSettings(**{**ALL, **values}))
    return result.numbers[0].tolist(), result.left_out


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ({}, [10, 12, 13, 15]),
        ({"negatives": 2}, [10, 12]),
        ({"negatives": 2, "skip_top": 1}, [12, 13]),
        ({"negatives": 2, "max_rank": 2}, [10, 12]),
        ({"negatives": 1, "skip_top": 3}, [15]),
        ({"max_score_share": 0.95}, [12, 13, 15]),  # above 0.855
        ({"max_score_share": 0.8}, [13, 15]),  # above 0.72
        ({"max_score_share": 1.2}, [10, 12, 13, 15]),
        ({"margin": 0.0}, [12, 13, 15]),  # above 0.9
        ({"margin": 0.15}, [13, 15]),  # above 0.75
        ({"margin": 0.45}, []),
        ({"margin": 0.15, "max_score_share": 0.95}, [13, 15]),
        # Ranks are those before the limits.
        ({"negatives": 1, "skip_top": 1, "max_score_share": 0.95}, [12]),
        ({"negatives": 2, "max_rank": 2, "max_score_share": 0.95}, [12]),
    ],
)
def test_closed_forms(values, numbers):
    assert chosen(**values)[0] == numbers


def test_each_candidate_is_counted_under_its_first_reason():
    left_out = chosen(skip_top=1, max_score_share=0.8, margin=0.25)[1]
    # 10 is skipped, 12 above 0.72, 13 above 0.65; 15 remains.
    assert left_out == {"known_positives": 2, "skip_top": 1, "max_score_share": 1, "margin": 1}
    # 14 stands behind rank 3, where the search ends.
    assert chosen(negatives=3, max_rank=3)[1] == {"known_positives": 1, "skip_top": 0}


def test_a_positive_that_is_unlike_its_query_leaves_no_candidate_above_it():
    assert chosen(positive=-0.1, max_score_share=0.95)[0] == []


def test_a_random_choice_depends_on_seed_and_sample_only():
    cosines = np.linspace(0.9, 0.1, 40, dtype=np.float32)[None].repeat(6, axis=0)
    numbers, known, positives = np.arange(40)[None].repeat(6, axis=0), np.zeros((6, 40), bool), np.ones(6)
    settings = NegativeSettings(negatives=3, max_rank=30, sampling="random", seed=5)
    whole = choose_negatives(cosines, numbers, known, positives, settings)
    for first in (0, 2):
        part = slice(first, first + 2)
        found = choose_negatives(cosines[part], numbers[part], known[part], positives[part], settings, first)
        for row, expected in zip(found.numbers, whole.numbers[part], strict=True):
            np.testing.assert_array_equal(row, expected)
    assert len({tuple(row) for row in whole.numbers}) > 3
    assert all(len({*row}) == 3 and max(row) < 30 and (np.diff(row) > 0).all() for row in whole.numbers)
    other = choose_negatives(cosines, numbers, known, positives, NegativeSettings(3, 0, 30, sampling="random", seed=6))
    assert any((one != two).any() for one, two in zip(whole.numbers, other.numbers, strict=True))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_limits_hold_and_nothing_else_is_left_out(data):
    size = data.draw(st.integers(1, 12))
    cosines = np.sort(np.array(data.draw(st.lists(st.floats(-1, 1, width=32), min_size=size, max_size=size))))[::-1]
    known = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    positive = data.draw(st.floats(-1, 1))
    skip_top, negatives = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 4))
    values = NegativeSettings(
        negatives=negatives,
        skip_top=skip_top,
        max_rank=skip_top + negatives + data.draw(st.integers(0, 6)),
        max_score_share=data.draw(st.sampled_from([0.5, 0.95, 1.0, float("inf")])),
        margin=data.draw(st.sampled_from([None, 0.0, 0.1])),
        sampling=data.draw(st.sampled_from(["top", "random"])),
    )
    result = choose_negatives(cosines[None], np.arange(size)[None], known[None], np.array([positive]), values)
    others = [number for number in range(size) if not known[number]][: values.max_rank]
    limits = [np.inf if values.max_score_share == np.inf else values.max_score_share * positive]
    limits.append(np.inf if values.margin is None else positive - values.margin)
    usable = [number for number in others[skip_top:] if cosines[number] <= min(limits)]
    found = result.numbers[0].tolist()
    assert len(found) == min(negatives, len(usable)) and {*found} <= {*usable}
    assert values.sampling == "random" or found == usable[:negatives]
    np.testing.assert_array_equal(result.scores[0], cosines[found])
    assert sum(number for reason, number in result.left_out.items() if reason != "known_positives") == (
        len(others) - len(usable)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"negatives": 0}, "negatives = 0: must be at least 1"),
        ({"skip_top": -1}, "skip_top = -1: must be at least 0"),
        ({"negatives": 4, "skip_top": 7, "max_rank": 10}, "max_rank = 10: must be at least skip_top . negatives = 11"),
        ({"max_score_share": 0.0}, "max_score_share = 0.0: must be above 0"),
        ({"max_score_share": float("nan")}, "max_score_share = nan"),
        ({"margin": -0.1}, "margin = -0.1"),
        ({"margin": float("nan")}, "margin = nan"),
        ({"sampling": "all"}, "sampling = 'all': must be one of top, random"),
    ],
)
def test_settings_out_of_range(values, message):
    with pytest.raises(InputError, match=message):
        NegativeSettings(**values)


def test_texts_are_one_in_any_case_and_what_belongs_to_a_query_is_known():
    samples = EmbeddingSamples(
        "en",
        queries=["Open the file", "open  the FILE", "print"],
        positives=["File menu", "Ctrl+O", "Open the file"],
    )
    pool = NegativePool(samples, ["file  MENU", "Save", "print"])
    assert pool.queries.texts == ["Open the file", "print"]
    assert pool.documents.texts == ["File menu", "Ctrl+O", "Open the file", "Save", "print"]
    assert pool.query_numbers.tolist() == [0, 0, 1] and pool.positive_numbers.tolist() == [0, 1, 2]
    # Both positives of the first query, and its own text; of the second its positive and its own text.
    assert [known.tolist() for known in pool.known] == [[0, 1, 2], [2, 4]]
    known = pool.is_known(np.array([0, 1]), np.array([[3, 1], [4, 0]]))
    assert known.tolist() == [[False, True], [True, False]]
