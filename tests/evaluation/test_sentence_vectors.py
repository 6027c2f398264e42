"""`PretrainedModel.encode` and `.similarity`: the vectors that the exported model gives, and their cosine."""

import dataclasses

import numpy as np
import pytest

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation import sentence_vectors
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained

TEXTS = ["the house", "der Fluss fließt neben dem alten Wald.", "", "房子河流桥", "街 " * 40, "the house"]


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


def with_info(model, **changes):
    return dataclasses.replace(model, info=dataclasses.replace(model.info, **changes))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_vectors_are_those_of_the_embedder_at_the_trained_layer(model, pooling, normalize):
    model = with_info(model, pooling=pooling, normalize=normalize)
    vectors = model.encode(TEXTS, batch_size=4)
    expected = TextEmbedder(model.backbone, model.tokenizer, [1], pooling)(TEXTS)[0]
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors.shape == (len(TEXTS), 8) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.usefixtures("forked_verification")
def test_the_vectors_are_those_of_the_saved_model(model, tmp_path):
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers the operations

    from infoxlm_keras.commands import export_savedmodel
    from infoxlm_keras.pretrained import save_pretrained
    from running import run

    save_pretrained(tmp_path / "model", model.masked_lm, model.tokenizer, model.info)
    run(export_savedmodel.main, "--model", tmp_path / "model", "--output_dir", tmp_path / "serving")
    served = tf.saved_model.load(str(tmp_path / "serving" / "1")).signatures["serving_default"]
    expected = served(text=tf.constant(TEXTS))["embedding"].numpy()
    np.testing.assert_allclose(load_pretrained(tmp_path / "model").encode(TEXTS), expected, atol=1e-5)


def test_one_text_an_empty_list_and_other_iterables(model):
    every = model.encode(TEXTS)
    one = model.encode(TEXTS[1])
    assert one.shape == (8,) and one.dtype == np.float32
    np.testing.assert_allclose(one, every[1], atol=1e-6)
    empty = model.encode([])
    assert empty.shape == (0, 8) and empty.dtype == np.float32
    np.testing.assert_array_equal(model.encode(iter(TEXTS)), every)
    np.testing.assert_array_equal(model.encode(np.array(TEXTS)), every)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (None, "texts = None: give a str or a list of str"),
        (3, "texts = 3: give a str"),
        (["a", None], "text number 1 is a NoneType, not a str: None"),
        ([b"a"], "text number 0 is a bytes"),
        ([["a"]], "text number 0 is a list"),
        (["a", "\ud800"], "text number 1 is not valid Unicode"),
    ],
)
def test_what_is_no_text_is_refused(model, texts, message):
    with pytest.raises(InputError, match=message):
        model.encode(texts)


def test_settings_of_a_call(model):
    other = model.encode(TEXTS, layer=2, pooling="cls")
    expected = TextEmbedder(model.backbone, model.tokenizer, [2], "cls")(TEXTS)[0]
    np.testing.assert_allclose(other, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    for settings in ({"batch_size": 0}, {"layer": 3}, {"layer": -1}, {"pooling": "median"}):
        with pytest.raises(InputError):
            model.encode(TEXTS, **settings)


def test_the_vectors_follow_the_weights_and_the_history(model, tokenizer):
    from infoxlm_keras.models import EncoderSize, build_masked_lm

    size = EncoderSize(num_layers=2, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size)
    fresh = PretrainedModel(masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    before = fresh.encode(TEXTS)
    masked_lm.set_weights(model.masked_lm.get_weights())
    np.testing.assert_allclose(fresh.encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    assert np.abs(before - model.encode(TEXTS)).max() > 1e-3
    fresh.info = PretrainingInfo(universal_layer=2)
    np.testing.assert_allclose(fresh.encode(TEXTS), model.encode(TEXTS, layer=2), atol=1e-6)


def test_a_long_input_shows_a_bar_and_a_short_one_does_not(model, capsys, monkeypatch):
    monkeypatch.setattr(sentence_vectors, "LONG_INPUT", 4)
    model.encode(TEXTS[:4])
    assert "encoding" not in capsys.readouterr().out
    model.encode(TEXTS)
    assert "encoding" in capsys.readouterr().out
    model.encode(TEXTS, progress=False)
    assert "encoding" not in capsys.readouterr().out
    model.encode(TEXTS[:1], progress=True)
    assert "encoding" in capsys.readouterr().out


def test_similarity_is_the_cosine_of_texts_or_vectors(model):
    model = with_info(model, normalize=False)
    a, b = TEXTS[:2], TEXTS[2:5]
    vectors_a, vectors_b = model.encode(a).astype(np.float64), model.encode(b).astype(np.float64)
    expected = np.array([[x @ y / np.sqrt((x @ x) * (y @ y)) for y in vectors_b] for x in vectors_a])
    for left, right in ((a, b), (vectors_a, b), (a, vectors_b), (vectors_a.tolist(), vectors_b)):
        found = model.similarity(left, right)
        assert found.shape == (2, 3) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(model.similarity(a[0], b), expected[0], atol=1e-5)
    np.testing.assert_allclose(model.similarity(vectors_a, b[1]), expected[:, 1], atol=1e-5)
    assert np.shape(model.similarity(a[0], a[0])) == () and abs(model.similarity(a[0], a[0]) - 1) < 1e-5
    assert model.similarity([], b).shape == (0, 3)


def test_a_zero_vector_is_like_none():
    found = sentence_vectors.cosine_similarity(np.zeros((1, 3)), [[1.0, 0.0, 0.0]])
    assert found.tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), "vectors of 3 and of 4 numbers"),
        (np.zeros((2, 3, 4)), np.zeros(3), r"a has the shape \[2, 3, 4\]"),
        (np.zeros(3), None, "b has the shape"),
        (np.zeros(3), [[1.0], [1.0, 2.0]], "b is no array of numbers"),
        (["a", 1.0], np.zeros(8), "text number 1 is a float"),
    ],
)
def test_what_cannot_be_compared_is_refused(model, a, b, message):
    with pytest.raises(InputError, match=message):
        model.similarity(a, b)
