"""Shortened vectors, int8 vectors and bits: NumPy's arithmetic, the export in a fresh process, and retrieval."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import PairSet
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import EmbeddingModule, export_embedding, run_in_fresh_process, verification
from infoxlm_keras.serving.retrieval_comparison import compare_retrieval
from infoxlm_keras.serving.vector_types import dequantize, quantize, rounding_excess, with_equal_norms
from sample_text import sentences
from tiny_export import DIM, TEXTS, expected_vectors, padded_ids

VALUES = st.floats(-1, 1, width=32, allow_subnormal=False)  # TensorFlow counts those as 0


def float_rows(multiple=1):
    """Strategy of float32 arrays of 0 to 6 rows; the width is a multiple of `multiple`."""
    shape = st.tuples(st.integers(0, 6), st.integers(1, 5).map(lambda number: number * multiple))
    return shape.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=VALUES))


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@given(float_rows())
def test_int8_is_127_times_the_value_rounded(vectors):
    stored = quantize(tf.constant(vectors), "int8").numpy()
    assert stored.dtype == np.int8
    np.testing.assert_array_equal(stored, np.rint(vectors * np.float32(127)))
    assert np.abs(dequantize(stored) - vectors).max(initial=0) <= 0.5 / 127 + 1e-6
    assert rounding_excess(stored, vectors) <= 1e-6


@given(float_rows(multiple=8))
def test_bits_are_those_of_packbits(vectors):
    stored = quantize(tf.constant(vectors), "binary").numpy()
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, np.packbits(vectors > 0, axis=-1))
    np.testing.assert_array_equal(dequantize(stored), np.where(vectors > 0, 1, -1))
    assert rounding_excess(stored, vectors) == 0


@given(float_rows(multiple=8), st.data())
def test_the_distance_to_a_rounding(vectors, data):
    """A vector that is off by `step` is `step` away from the rounding of the other, at most."""
    step = data.draw(st.floats(2**-9, 2**-3, width=32))
    moved = vectors + np.float32(step)
    for kind in ("int8", "binary"):
        excess = rounding_excess(quantize(tf.constant(vectors), kind).numpy(), moved)
        assert excess <= step + 1e-6
    assert rounding_excess(np.zeros((1, 8), np.int8), np.full((1, 8), 0.5 / 127 + step, np.float32)) == pytest.approx(
        step, rel=1e-4
    )
    assert rounding_excess(np.zeros((1, 1), np.uint8), np.full((1, 8), step, np.float32)) == np.float32(step)
    assert rounding_excess(np.zeros((1, 3), np.int8), np.zeros((1, 4), np.float32)) == np.inf


def test_the_excess_is_relative_where_vectors_are_long():
    vectors = np.array([[1000, 3e-3, *[-1] * 6]], np.float32)
    stored = np.packbits(vectors > 0, axis=1) ^ 64
    assert rounding_excess(stored, vectors) == pytest.approx(3e-6)


@pytest.mark.parametrize("vectors", ["float32", "binary"])
def test_an_export_of_a_model_whose_vectors_are_not_scaled(model, tmp_path, vectors):
    plain = PretrainedModel(model.masked_lm, model.tokenizer, PretrainingInfo(universal_layer=1, normalize=False))
    exported = export_embedding(plain, tmp_path, vectors=vectors)  # verified
    assert exported.facts["normalize"] is False
    expected = expected_vectors(plain, TEXTS, layer=1, pooling="mean", normalize=False)
    requests = {"serving_default": {"text": TEXTS}, "similarity": {"text_a": TEXTS, "text_b": TEXTS[::-1]}}
    answers = run_in_fresh_process(exported.directory, requests)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(answers["similarity/similarity"], (unit * unit[::-1]).sum(axis=1), rtol=0, atol=1e-5)
    if vectors == "float32":
        np.testing.assert_allclose(answers["serving_default/embedding"], expected, rtol=1e-5, atol=1e-5)
    else:
        certain = np.abs(expected) > 1e-4
        bits = np.unpackbits(answers["serving_default/embedding"], axis=1)
        np.testing.assert_array_equal(bits[certain], (expected > 0)[certain])
    # Retrieval is by the cosine, so the scale changes nothing.
    targets = sentences("en", 20)
    pairs = PairSet("en", "xx", [text.removesuffix(".") + " a" for text in targets], targets, ())
    scaled = export_embedding(model, tmp_path / "scaled", layer=1, pooling="mean", vectors=vectors, verify=False)
    found = [
        compare_retrieval(EmbeddingModule(of, vectors=vectors), of, export.directory, [pairs])["export"]["mean"]
        for of, export in ((plain, exported), (model, scaled))
    ]
    assert found[0] == found[1]


def test_equal_norms_keep_the_dot_products():
    generator = np.random.default_rng(1)
    queries, candidates = generator.normal(size=(2, 7, 5)).astype(np.float32)
    longer = with_equal_norms(queries, candidates)
    np.testing.assert_allclose(longer[0] @ longer[1].T, queries @ candidates.T, rtol=1e-5, atol=1e-5)
    norms = np.linalg.norm(np.concatenate(longer), axis=1)
    np.testing.assert_allclose(norms, max(np.linalg.norm(np.concatenate([queries, candidates]), axis=1)), rtol=1e-5)


@pytest.mark.parametrize(("vectors", "dimensions"), [("float32", 3), ("int8", 5), ("int8", None), ("binary", None)])
def test_an_export_returns_them(model, tmp_path, vectors, dimensions):
    exported = export_embedding(model, tmp_path, dimensions=dimensions, vectors=vectors)  # verified
    dim = dimensions or DIM
    assert (exported.facts["dim"], exported.facts["vectors"]) == (dim, vectors)
    assert exported.max_difference < 1e-5
    whole = expected_vectors(model, TEXTS, layer=1, pooling="mean")[:, :dim]
    expected = whole / np.linalg.norm(whole, axis=1, keepdims=True)
    token_ids, padding_mask = padded_ids(model.tokenizer, TEXTS)
    requests = {
        "serving_default": {"text": TEXTS},
        "tokens": {"token_ids": token_ids, "padding_mask": padding_mask},
        "similarity": {"text_a": TEXTS, "text_b": TEXTS[::-1]},
    }
    answers = run_in_fresh_process(exported.directory, requests)
    np.testing.assert_allclose(
        answers["similarity/similarity"], (expected * expected[::-1]).sum(axis=1), rtol=0, atol=1e-5
    )
    certain = np.abs(expected) > 1e-5
    for name in ("serving_default/embedding", "tokens/embedding"):
        answer = answers[name]
        if vectors == "binary":
            assert (answer.dtype, answer.shape) == (np.uint8, (len(TEXTS), dim // 8))
            np.testing.assert_array_equal(np.unpackbits(answer, axis=1)[certain], (expected > 0)[certain])
        elif vectors == "int8":
            assert (answer.dtype, answer.shape) == (np.int8, (len(TEXTS), dim))
            assert np.abs(answer - 127 * expected).max() <= 0.5 + 127e-5
        else:
            np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("vectors", ["int8", "binary"])
def test_a_wrong_rounding_is_found(model, monkeypatch, vectors):
    module = EmbeddingModule(model, vectors=vectors)

    def answers(directory, requests):
        stored = module.returned(module.predict(**requests["tokens"]))["embedding"].numpy()
        wrong = stored.copy()
        wrong[0, 0] ^= 128 if vectors == "binary" else 2
        return {"serving_default/embedding": stored, "tokens/embedding": wrong}

    monkeypatch.setattr(verification, "run_in_fresh_process", answers)
    with pytest.raises(RuntimeError, match=f"tokens/embedding is no {vectors} rounding of the Keras model's vectors"):
        verification.verify_export(module, "serving/1", TEXTS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dimensions": DIM + 1}, f"dimensions = {DIM + 1}: the model's vectors have {DIM}; give 1..{DIM}"),
        ({"dimensions": 0}, "dimensions = 0"),
        ({"dimensions": 7, "vectors": "binary"}, "7 dimensions do not fill bytes; give dimensions = 8"),
        (
            {"vectors": "int8", "normalize": False},
            "unit vectors, and those of this model are not scaled; set normalize to true",
        ),
        ({"vectors": "int4"}, "vectors = 'int4': must be one of float32, int8, binary"),
    ],
)
def test_what_cannot_be_is_refused(model, settings, message):
    with pytest.raises(InputError, match=message):
        EmbeddingModule(model, **settings)


def by_hand(sources, targets, score):
    """Mean accuracy of both directions by a loop; a translation that ties with others counts its share."""
    scores = np.array([[score(source, target) for target in targets] for source in sources], np.float64)
    credit = [
        (row[number] == row.max()) / np.count_nonzero(row == row.max())
        for matrix in (scores, scores.T)
        for number, row in enumerate(matrix)
    ]
    return np.mean(credit)


@pytest.mark.parametrize("vectors", ["int8", "binary"])
def test_retrieval_is_by_dot_product_or_hamming_distance(model, tmp_path, vectors):
    exported = export_embedding(model, tmp_path, vectors=vectors, verify=False)
    targets = sentences("en", 40)
    pairs = PairSet("en", "xx", [text.removesuffix(".") + " a" for text in targets], targets, ())
    module = EmbeddingModule(model, vectors=vectors)
    result = compare_retrieval(module, model, exported.directory, [pairs])["export"]["mean"]
    sides = [
        module.returned(module.predict(*module.text_to_ids(tf.constant(texts))))["embedding"].numpy()
        for texts in (pairs.sources, pairs.targets)
    ]
    scores = {
        "int8": lambda source, target: source.astype(int) @ target.astype(int),
        "binary": lambda source, target: -int(np.unpackbits(source ^ target).sum()),
    }
    assert np.mean(list(result.values())) == pytest.approx(by_hand(*sides, scores[vectors]))
