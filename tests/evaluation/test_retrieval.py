"""Cosine retrieval: closed forms, an independent oracle, and the rule for ties."""

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import (
    accuracy_at,
    best_layer,
    both_ways,
    layer_accuracies,
    mean_over_languages,
    retrieval_accuracy,
    unit_rows,
)


def naive_accuracy(sources, targets):
    """The whole matrix in float64, and the index of the largest value: right wherever there are no ties."""
    sources, targets = np.float64(sources), np.float64(targets)
    cosines = sources @ targets.T
    cosines /= np.linalg.norm(sources, axis=1)[:, None] * np.linalg.norm(targets, axis=1)[None]
    gold = np.arange(len(sources))
    return (cosines.argmax(axis=1) == gold).mean(), (cosines.argmax(axis=0) == gold).mean()


def test_translations_with_equal_directions_are_all_found_whatever_their_length():
    sources = np.eye(5)
    lengths = np.array([1e-20, 0.1, 1, 10, 1e20])[:, None]
    assert retrieval_accuracy(sources, sources * lengths) == (1.0, 1.0)


def test_opposite_and_permuted_vectors_are_not_found():
    assert retrieval_accuracy(np.eye(4), -np.eye(4)) == (0.0, 0.0)
    assert retrieval_accuracy(np.eye(4), np.roll(np.eye(4), 1, axis=0)) == (0.0, 0.0)


def test_directions_are_told_apart():
    # Angles in degrees. Sources at 0, 40, 90; their translations at 10, 85, 88.
    angles = np.deg2rad([[0, 40, 90], [10, 85, 88]])
    sources, targets = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    # 0 -> 10 right, 40 -> 10 wrong, 90 -> 88 right; 10 -> 0 right, 85 -> 90 wrong, 88 -> 90 right.
    assert retrieval_accuracy(sources, targets) == pytest.approx((2 / 3, 2 / 3))
    # With the first target at 60: 0 -> 60 right; 40 -> 60 wrong; 90 -> 88 right; 60 -> 40 wrong; 85 -> 90 wrong.
    angles = np.deg2rad([[0, 40, 90], [60, 85, 88]])
    sources, targets = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    assert retrieval_accuracy(sources, targets) == pytest.approx((2 / 3, 1 / 3))
    assert retrieval_accuracy(targets, sources) == pytest.approx((1 / 3, 2 / 3))


@pytest.mark.parametrize("count", [1, 2, 7, 100])
@pytest.mark.parametrize("vector", [[0.3, -0.2, 0.1], [0.0, 0.0, 0.0]])
def test_one_vector_for_everything_scores_one_in_n(count, vector):
    vectors = np.tile(vector, (count, 1))
    assert retrieval_accuracy(vectors, vectors, 3, 5) == pytest.approx((1 / count, 1 / count))


def test_a_tie_shares_the_credit_and_a_nearer_candidate_takes_it_all():
    sources = np.eye(4)[[0, 1, 2, 3]]
    targets = np.eye(4)[[0, 1, 1, 3]]
    # Source 1 finds its translation twice; to source 2 all four candidates are equally far, at cosine 0.
    assert retrieval_accuracy(sources, targets)[0] == pytest.approx((1 + 1 / 2 + 0.25 + 1) / 4)
    # Target 2 points at source 1: its own source is not the nearest.
    assert retrieval_accuracy(sources, targets)[1] == pytest.approx((1 + 1 + 0 + 1) / 4)


def test_duplicates_tie_although_float32_products_differ_in_the_last_bit():
    generator = np.random.default_rng(0)
    vectors = np.repeat(generator.normal(size=(60, 301)), 2, axis=0)
    noisy = vectors * generator.uniform(0.5, 2, (120, 1))  # the same directions, rounded in another way
    assert retrieval_accuracy(vectors, noisy, 7, 11) == pytest.approx((0.5, 0.5), abs=1e-12)


def test_random_vectors_score_one_in_n():
    generator = np.random.default_rng(0)
    scores = [retrieval_accuracy(*generator.normal(size=(2, 50, 16))) for _ in range(200)]
    # 200 trials of 50 queries: the standard error of a direction's mean is below 0.0015.
    assert np.mean(scores, axis=0) == pytest.approx([0.02, 0.02], abs=0.006)


@hypothesis.given(
    count=strategies.integers(1, 40),
    dim=strategies.integers(2, 6),
    query_block=strategies.integers(1, 45),
    candidate_block=strategies.integers(1, 45),
    seed=strategies.integers(0, 2**32 - 1),
)
@hypothesis.settings(deadline=None)
def test_tiles_equal_the_whole_matrix(count, dim, query_block, candidate_block, seed):
    generator = np.random.default_rng(seed)
    sources = generator.normal(size=(count, dim))
    targets = sources + generator.normal(size=(count, dim))
    cosines = unit_rows(sources).astype(float) @ unit_rows(targets).astype(float).T
    margins = np.abs(cosines - np.diag(cosines)[:, None]), np.abs(cosines - np.diag(cosines)[None])
    hypothesis.assume(all(np.count_nonzero(margin < 1e-5) == count for margin in margins))
    found = retrieval_accuracy(sources.astype(np.float32), targets.astype(np.float32), query_block, candidate_block)
    assert found == pytest.approx(naive_accuracy(sources, targets), abs=1e-12)


@hypothesis.given(seed=strategies.integers(0, 2**32 - 1), values=strategies.integers(1, 3))
@hypothesis.settings(deadline=None)
def test_order_of_sentences_and_scale_do_not_matter_even_with_ties(seed, values):
    generator = np.random.default_rng(seed)
    # Coordinates from a few whole numbers: many exact ties, and zero vectors.
    sources, targets = generator.integers(-values, values + 1, (2, 23, 2)).astype(np.float32)
    order = generator.permutation(23)
    expected = retrieval_accuracy(sources, targets)
    assert retrieval_accuracy(sources[order], 3 * targets[order], 5, 4) == pytest.approx(expected, abs=1e-12)
    assert retrieval_accuracy(targets, sources) == pytest.approx(expected[::-1], abs=1e-12)


def test_memory_grows_with_n_and_not_with_its_square():
    import tracemalloc

    vectors = np.random.default_rng(0).normal(size=(6000, 4)).astype(np.float32)
    tracemalloc.start()
    try:
        assert retrieval_accuracy(vectors, vectors, 64, 256) == (1.0, 1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6000 * 6000 / 8  # the whole matrix of float32 would take 32 times as much


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_broken_vectors_are_refused_and_not_taken_for_perfect(value):
    vectors = np.eye(3)
    vectors[1, 2] = value
    with pytest.raises(InputError, match="sentence 1 .*not finite"):
        retrieval_accuracy(vectors, np.eye(3))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 3)), ((2, 3), (2, 4)), ((0, 3), (0, 3)), ((3,), (3,))])
def test_shapes_that_are_no_pairs_are_refused(shapes):
    with pytest.raises(InputError, match="must be equal"):
        retrieval_accuracy(*map(np.zeros, shapes))


def test_layers_means_and_the_best_layer():
    found, lost = np.eye(4), np.roll(np.eye(4), 1, axis=0)
    half = np.eye(4)[[0, 1, 3, 2]]
    german = layer_accuracies(np.stack([found] * 3), np.stack([lost, found, half]))
    hindi = layer_accuracies(np.stack([found] * 3), np.stack([lost, half, half]))
    assert german == {"source_to_target": [0.0, 1.0, 0.5], "target_to_source": [0.0, 1.0, 0.5]}
    hindi["target_to_source"] = [0.0, 0.0, 1.0]
    mean = mean_over_languages({"de": german, "hi": hindi})
    assert mean == {"source_to_target": [0.0, 0.75, 0.5], "target_to_source": [0.0, 0.5, 0.75]}
    assert both_ways(mean) == [0.0, 0.625, 0.625]
    assert best_layer([4, 7, 9], mean) == 7  # the lower of two equally good
    result = {"layers": [4, 7, 9], "languages": {"de": german, "hi": hindi}, "mean": mean}
    assert accuracy_at(result, 9, "hi") == {"source_to_target": 0.5, "target_to_source": 1.0, "average": 0.75}
    assert accuracy_at(result, 7) == {"source_to_target": 0.75, "target_to_source": 0.5, "average": 0.625}
