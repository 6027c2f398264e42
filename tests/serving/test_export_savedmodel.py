"""The SavedModel of the embedding head against independent arithmetic, with Keras and without."""

import ast
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2

from infoxlm_keras.errors import InputError
from infoxlm_keras.models import hidden_state_model
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.serving import export_embedding, run_in_fresh_process
from infoxlm_keras.serving.export import version_directory
from repository import REPOSITORY
from tiny_export import DIM, LAYERS, POSITIONS, TEXTS, expected_vectors, padded_ids

CHECK = REPOSITORY / "infoxlm_keras" / "serving" / "check.py"


@pytest.fixture(scope="module")
def model(tiny_preset):
    return load_pretrained(tiny_preset)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The embedding head at the universal layer, which is 1 of 2."""
    return export_embedding(model, tmp_path_factory.mktemp("serving"), verify=False)


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported.directory), tags=["serve"]).signatures


@pytest.fixture(scope="module")
def embed(signatures):
    """Texts (list of bytes) to vectors, by the SavedModel's `serving_default`."""
    return lambda texts: signatures["serving_default"](text=tf.constant(texts, tf.string))["embedding"].numpy()


def variable_shapes(directory):
    """Name -> shape of the variables in a SavedModel."""
    variables = tf.train.list_variables(str(directory / "variables" / "variables"))
    return {name: shape for name, shape in variables if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def test_vectors_in_a_fresh_process_equal_those_of_keras(model, exported):
    token_ids, padding_mask = padded_ids(model.tokenizer, TEXTS)
    requests = {
        "serving_default": {"text": TEXTS},
        "tokens": {"token_ids": token_ids, "padding_mask": padding_mask},
        "similarity": {"text_a": TEXTS, "text_b": TEXTS[1:] + TEXTS[:1]},
    }
    answers = run_in_fresh_process(exported.directory, requests)
    expected = expected_vectors(model, TEXTS, layer=1, pooling="mean")
    cosines = (expected * np.roll(expected, -1, axis=0)).sum(axis=1)
    np.testing.assert_allclose(answers.pop("similarity/similarity"), cosines, rtol=0, atol=1e-5)
    assert sorted(answers) == ["serving_default/embedding", "tokens/embedding"]
    for vectors in answers.values():
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)


def test_the_fresh_process_has_neither_keras_nor_this_package():
    nodes = ast.walk(ast.parse(CHECK.read_text()))
    imports = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert imports == {"json", "os", "sys", "numpy", "tensorflow", "tensorflow_text"}
    assert "from " + "infoxlm_keras" not in CHECK.read_text()
    # tensorflow_text imports Keras, so the script must remove it again.
    code = f"""
import runpy
check = runpy.run_path({str(CHECK)!r})
try:
    check["main"]("nothing", {os.devnull!r}, "nothing")
except ValueError:  # the request is no JSON
    pass
for name in ("keras", "keras_hub", "infoxlm_keras"):
    try:
        __import__(name)
    except ImportError:
        print("no", name)
"""
    process = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout.split("\n") == ["no keras", "no keras_hub", "no infoxlm_keras", ""]


def test_nothing_in_the_saved_model_is_a_keras_object(exported):
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((exported.directory / "saved_model.pb").read_bytes())
    [graph] = saved_model.meta_graphs
    assert list(graph.meta_info_def.tags) == ["serve"]
    kinds = {node.user_object.identifier for node in graph.object_graph_def.nodes}
    assert "_generic_user_object" in kinds
    assert not any("keras" in kind for kind in kinds)


def test_signatures(signatures):
    assert sorted(signatures) == ["serving_default", "similarity", "tokens"]
    inputs = {name: signature.structured_input_signature[1] for name, signature in signatures.items()}
    assert inputs["serving_default"] == {"text": tf.TensorSpec([None], tf.string, "text")}
    assert inputs["tokens"] == {
        name: tf.TensorSpec([None, None], tf.int32, name) for name in ("token_ids", "padding_mask")
    }
    assert inputs["similarity"] == {name: tf.TensorSpec([None], tf.string, name) for name in ("text_a", "text_b")}
    [(name, output)] = signatures["similarity"].structured_outputs.items()
    assert (name, output.shape.as_list(), output.dtype) == ("similarity", [None], tf.float32)
    for signature in (signatures["serving_default"], signatures["tokens"]):
        [(name, output)] = signature.structured_outputs.items()
        assert (name, output.shape.as_list(), output.dtype) == ("embedding", [None, DIM], tf.float32)


def test_a_string_has_one_vector_in_any_batch(embed):
    together = embed(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    np.testing.assert_allclose(embed([TEXTS[row] for row in order]), together[order], rtol=0, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(embed([text])[0], vector, rtol=0, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3  # and another string another one


@given(st.lists(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_finite_unit_vectors(embed, texts):
    vectors = embed(texts)
    assert vectors.shape == (len(texts), DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)


def test_similarity_needs_as_many_texts_on_both_sides(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="text_a and text_b: differ in number"):
        signatures["similarity"](text_a=tf.constant(["a"]), text_b=tf.constant(["a", "b"]))
    empty = tf.constant([], tf.string)
    assert signatures["similarity"](text_a=empty, text_b=empty)["similarity"].shape == (0,)


def random_texts(generator, count, longest):
    """Byte strings of 0 to `longest` bytes, log-uniform: characters of all planes, or any bytes at all."""
    sizes = np.exp(generator.uniform(0, np.log(longest + 1), count)).astype(int)
    sizes[:: count // 20] = 0
    sizes[:: count // 10] = longest
    texts = []
    for size in sizes:
        if generator.random() < 0.5:
            texts.append(generator.bytes(size))
            continue
        characters = generator.integers(0, 0x110000, size // 4 + 1)
        characters[(characters >= 0xD800) & (characters < 0xE000)] = 0x20  # surrogates are not characters
        common = generator.random(len(characters)) < generator.random()
        characters = np.where(common, characters % 0x3000, characters)  # scripts that the vocabulary may know
        text = characters.astype("<u4").tobytes().decode("utf-32-le").encode()
        texts.append(text[:size])  # may cut the last character
    return texts


@pytest.mark.slow
def test_ten_thousand_random_strings(embed):
    generator = np.random.default_rng(11)
    texts = random_texts(generator, 10_000, 100_000)
    assert min(map(len, texts)) == 0 and max(map(len, texts)) == 100_000
    vectors = np.concatenate([embed(texts[start : start + 500]) for start in range(0, len(texts), 500)])
    assert vectors.shape == (10_000, DIM)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)
    # In other company the same string has the same vector.
    for rows in np.array_split(generator.permutation(10_000)[:600], 7):
        np.testing.assert_allclose(embed([texts[row] for row in rows]), vectors[rows], rtol=0, atol=1e-5)


def test_rows_that_a_batching_server_filled_up(signatures, model):
    """TensorFlow Serving pads a tensor to the longest of its batch with the tensor's first value."""
    token_ids, padding_mask = padded_ids(model.tokenizer, TEXTS[:1])
    alone = signatures["tokens"](token_ids=token_ids, padding_mask=padding_mask)["embedding"]
    filled = [np.pad(ids, [(0, 0), (0, 9)], constant_values=ids[0, 0]) for ids in (token_ids, padding_mask)]
    assert filled[1].all()
    together = signatures["tokens"](token_ids=filled[0], padding_mask=filled[1])["embedding"]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def test_padding_may_be_anywhere(signatures, model):
    token_ids, padding_mask = padded_ids(model.tokenizer, TEXTS[:4])
    padding_mask[0, 2] = padding_mask[1, 1:3] = 0
    padding_mask[2] = 0  # nothing at all
    answer = signatures["tokens"](token_ids=token_ids, padding_mask=padding_mask)["embedding"].numpy()
    state = np.asarray(hidden_state_model(model.backbone, 1)({"token_ids": token_ids, "padding_mask": padding_mask}))
    for row in (0, 1, 3):
        mean = state[row][padding_mask[row] > 0].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(answer[row], mean / np.linalg.norm(mean), rtol=0, atol=1e-5)
    assert (answer[2] == 0).all()


def test_token_ids_beyond_the_limit_are_refused(signatures):
    token_ids = tf.ones([1, POSITIONS + 1], tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"longer than the limit of {POSITIONS} tokens"):
        signatures["tokens"](token_ids=token_ids, padding_mask=token_ids)
    longest = token_ids[:, 1:]
    assert signatures["tokens"](token_ids=longest, padding_mask=longest)["embedding"].shape == (1, DIM)


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_above_and_the_head_are_not_exported(model, layer, tmp_path):
    directory = export_embedding(model, tmp_path, layer=layer, verify=False).directory
    shapes = variable_shapes(directory)
    # Token and position tables and a layer norm; then 2 x 2 for attention, 2 x 2 dense, 2 x 2 layer norms.
    assert len(shapes) == 4 + 12 * layer
    rows = model.tokenizer.vocabulary_size + POSITIONS
    per_layer = 4 * DIM * (DIM + 1) + (DIM + 1) * 16 + (16 + 1) * DIM + 4 * DIM
    assert sum(np.prod(shape) for shape in shapes.values()) == rows * DIM + 2 * DIM + layer * per_layer
    for absent in [*(f"transformer_layer_{index}" for index in range(layer, LAYERS)), "mlm_head"]:
        assert not any(absent in name for name in shapes)


def test_facts(exported, tokenizer):
    written = json.loads((exported.directory / "assets.extra" / "infoxlm.json").read_text())
    assert written == exported.facts
    digest = written.pop("weights_digest")
    assert len(bytes.fromhex(digest)) == 16
    assert written == {
        "format_version": 2,
        "head": "embedding",
        "layer": 1,
        "pooling": "mean",
        "normalize": True,
        "dim": DIM,
        "vectors": "float32",
        "max_length": POSITIONS,
        "storage": "float32",
        "tokenizer_fingerprint": tokenizer.fingerprint,
    }
    files = [path for path in exported.directory.rglob("*") if path.is_file()]
    assert exported.size == sum(path.stat().st_size for path in files)


def test_versions_count_up(exported, tmp_path):
    assert exported.directory.name == "1"
    assert version_directory(exported.directory.parent) == exported.directory.parent / "2"
    for name in ("7", "10", "notes", "11x", ".12.partial-1"):
        (tmp_path / name).mkdir()
    assert version_directory(str(tmp_path)) == tmp_path / "11"
    assert version_directory(tmp_path, 3) == tmp_path / "3"
    assert version_directory(tmp_path / "new") == tmp_path / "new" / "1"
    with pytest.raises(InputError, match="10: this version exists"):
        version_directory(tmp_path, 10)
