"""Smaller exports: what is stored, how far it is from the whole, and what it costs in retrieval."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.pairs import PairSet
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import ClassifierModule, EmbeddingModule, MaskedLMModule, export_embedding
from infoxlm_keras.serving.retrieval_comparison import compare_retrieval
from infoxlm_keras.serving.stored_weights import StoredMatrix, StoredTable
from sample_text import sentences
from tiny_export import DIM, TEXTS, expected_vectors, padded_ids, tiny_classifier

# Largest relative error of one weight: half a unit in the last place, or half a step of 127 of the largest.
ROUNDING = {"float32": 0.0, "bfloat16": 2**-8, "float16": 2**-11, "int8": 0.5 / 127}


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.mark.parametrize("storage", ROUNDING)
def test_a_matrix_is_stored_to_its_rounding(storage):
    generator = np.random.default_rng(3)
    kernel = generator.normal(0, 1, (20, 6)).astype(np.float32) * 10.0 ** np.arange(-3, 3)
    bias = generator.normal(0, 1, 6).astype(np.float32)
    matrix = StoredMatrix(kernel, bias, storage)
    restored = (matrix(np.eye(20, dtype=np.float32)) - bias).numpy()
    # A scale for each column: the smallest column is as exact as the largest.
    bound = ROUNDING[storage] * np.abs(kernel).max(axis=0) + 1e-6 * np.abs(bias) + 1e-6 * np.abs(kernel)
    assert (np.abs(restored - kernel) <= bound).all()
    assert matrix.kernel.dtype.name == storage


@pytest.mark.parametrize("storage", ROUNDING)
def test_a_table_gives_the_same_rows_as_products(storage):
    generator = np.random.default_rng(4)
    table = generator.normal(0, 1, (9, 5)).astype(np.float32)
    table[3] = 0
    stored = StoredTable(table, storage)
    rows = stored.rows(tf.range(9)).numpy()
    assert (np.abs(rows - table) <= ROUNDING[storage] * np.abs(table).max(axis=1, keepdims=True) + 1e-7).all()
    np.testing.assert_allclose(stored.products(tf.eye(5)).numpy().T, rows, rtol=1e-6, atol=1e-7)
    assert (rows[3] == 0).all()


def test_what_float16_cannot_hold_is_refused():
    with pytest.raises(InputError, match="float16.*65504.*bfloat16"):
        StoredMatrix(np.full((2, 2), 1e5), np.zeros(2), "float16")
    with pytest.raises(InputError, match="'float8': must be one of float32, bfloat16"):
        StoredTable(np.zeros((2, 2)), "float8")


@pytest.mark.parametrize(("storage", "cosine"), [("bfloat16", 0.9995), ("float16", 0.99999), ("int8", 0.999)])
def test_smaller_vectors_point_the_same_way(model, storage, cosine):
    module = EmbeddingModule(model, storage=storage)
    vectors = module.predict(*module.text_to_ids(tf.constant(TEXTS)))["embedding"].numpy()
    expected = expected_vectors(model, TEXTS, layer=1, pooling="mean")
    assert (vectors * expected).sum(axis=1).min() > cosine
    assert 0 < np.abs(vectors - expected).max()


@pytest.mark.parametrize("storage", ["float16", "int8"])
def test_other_heads_are_near_too(model, tokenizer, storage):
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    token_ids[0, 2] = tokenizer.mask_id
    token_ids, padding_mask = tf.constant(token_ids), tf.constant(padding_mask)
    for module in (
        MaskedLMModule(model, top_k=200, storage=storage),
        ClassifierModule(tiny_classifier(model.backbone, tokenizer), tokenizer, storage=storage),
    ):
        smaller, whole = module.predict(token_ids, padding_mask), module.reference(token_ids, padding_mask)
        np.testing.assert_allclose(smaller["probabilities"], whole["probabilities"], rtol=0, atol=0.08)


def test_an_int8_export_is_checked_small_and_keeps_retrieval(model, tmp_path):
    whole = export_embedding(model, tmp_path / "float32", verify=False)
    small = export_embedding(model, tmp_path / "int8", storage="int8")  # checked in a fresh process
    assert 1e-5 < small.max_difference < 0.1
    assert small.facts["storage"] == "int8"

    def bytes_of_weights(export):
        shapes = tf.train.list_variables(str(export.directory / "variables" / "variables"))
        reader = tf.train.load_checkpoint(str(export.directory / "variables" / "variables"))
        dtypes = reader.get_variable_to_dtype_map()
        return sum(np.prod(shape) * dtypes[name].size for name, shape in shapes if dtypes[name] != tf.string)

    # Width 8 is the worst case: a scale for every eight weights of the table.
    assert DIM == 8 and bytes_of_weights(small) < 0.5 * bytes_of_weights(whole)
    # A random encoder finds a sentence by most of its words, not by its meaning.
    targets = sentences("en", 60)
    pairs = PairSet("en", "xx", [text.removesuffix(".") + " a" for text in targets], targets, ())
    results = compare_retrieval(EmbeddingModule(model), model, whole.directory, [pairs])
    reduced = compare_retrieval(EmbeddingModule(model, storage="int8"), model, small.directory, [pairs])
    for direction, [accuracy] in results["keras"]["mean"].items():
        assert accuracy > 0.3
        assert results["export"]["mean"][direction] == [pytest.approx(accuracy)]
        assert reduced["export"]["mean"][direction] == [pytest.approx(accuracy, abs=0.1)]
