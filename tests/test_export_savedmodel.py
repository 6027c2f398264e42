"""The SavedModel against independent arithmetic, in this process and in one without Keras; and the recipe."""

import ast
import json
import os
import pathlib
import runpy
import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_text import multilingual_sentences
from tensorflow.core.protobuf import saved_model_pb2

from infoxlm_keras.command_line import run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.models import EncoderSize, build_masked_lm, hidden_states_model
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.serving import (
    ClassifierModule,
    EmbeddingModule,
    MaskedLMModule,
    embedding_module,
    export_classifier,
    export_embedding,
    export_masked_lm,
    verification,
)
from infoxlm_keras.serving import export as export_module

REPOSITORY = pathlib.Path(__file__).parents[1]
RECIPE = REPOSITORY / "recipes" / "export_savedmodel.py"
CHECK = REPOSITORY / "infoxlm_keras" / "serving" / "check.py"
LAYERS, DIM, POSITIONS, UNIVERSAL_LAYER = 3, 8, 32, 2
TEXTS = [
    *(text.encode() for text in multilingual_sentences(2)),
    b"",
    b" \t\n",
    "👩‍👩‍👧 e\u0301 \x00\x07".encode(),
    b"\xff cut \xe2\x82",
    "улица и ".encode() * 10_000,
]


def with_large_weights(model):
    """Random weights of size one, so that every layer changes every vector by far more than a tolerance."""
    generator = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(generator.normal(0.3, 0.7, weight.shape))
    return model


@pytest.fixture(scope="module")
def model(tokenizer):
    keras.utils.set_random_seed(3)
    size = EncoderSize(LAYERS, DIM, 2, 16, POSITIONS)
    masked_lm = with_large_weights(build_masked_lm(size, tokenizer.vocabulary_size))
    info = PretrainingInfo(UNIVERSAL_LAYER, "mean", tokenizer_fingerprint=tokenizer.fingerprint)
    return PretrainedModel(masked_lm, tokenizer, info)


@pytest.fixture(scope="module")
def classifier(model):
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=model.tokenizer.proto), sequence_length=POSITIONS
    )
    # A backbone of its own: saving to a preset must not disturb the shared one.
    backbone = keras_hub.models.XLMRobertaBackbone.from_config(model.backbone.get_config())
    return with_large_weights(
        keras_hub.models.XLMRobertaTextClassifier(backbone, num_classes=3, preprocessor=preprocessor)
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The embedding head at the universal layer."""
    return export_embedding(model, tmp_path_factory.mktemp("serving"), verify=False)


@pytest.fixture(scope="module")
def embed(exported):
    """Texts (list of bytes) to vectors, by the SavedModel's `serving_default`."""
    signature = tf.saved_model.load(str(exported.directory), tags=["serve"]).signatures["serving_default"]
    return lambda texts: signature(text=tf.constant(texts, tf.string))["embedding"].numpy()


def padded_ids(tokenizer, texts, max_length=POSITIONS):
    """NumPy int32 (token_ids, padding_mask) of `texts` (bytes) by SentencePiece's Python package."""
    encoded = tokenizer.encode([text.decode("utf-8", "replace") for text in texts])
    rows = [[0, *token_ids[: max_length - 2], 2] for token_ids in encoded]
    length = max(map(len, rows))
    token_ids = np.array([row + [1] * (length - len(row)) for row in rows], np.int32)
    return token_ids, (token_ids != 1).astype(np.int32)


def oracle(model, texts, layer, pooling, normalize=True):
    """Vectors by NumPy from the whole backbone's hidden states."""
    token_ids, padding_mask = padded_ids(model.tokenizer, texts)
    states = hidden_states_model(model.backbone)({"token_ids": token_ids, "padding_mask": padding_mask})
    state = np.asarray(states[layer], np.float64)
    if pooling == "cls":
        vectors = state[:, 0]
    else:
        lengths = padding_mask.sum(axis=1)
        vectors = np.stack([row[:length].mean(axis=0) for row, length in zip(state, lengths, strict=True)])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if normalize else vectors


def variable_shapes(directory):
    """Name -> shape of the variables in a SavedModel."""
    variables = tf.train.list_variables(str(directory / "variables" / "variables"))
    return {name: shape for name, shape in variables if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}


def test_vectors_in_a_fresh_process_equal_those_of_keras(model, exported):
    token_ids, padding_mask = padded_ids(model.tokenizer, TEXTS)
    answers = verification.run_in_fresh_process(exported.directory, TEXTS, token_ids, padding_mask)
    assert sorted(answers) == ["serving_default/embedding", "tokens/embedding"]
    expected = oracle(model, TEXTS, UNIVERSAL_LAYER, "mean")
    for vectors in answers.values():
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)


def test_the_fresh_process_has_neither_keras_nor_this_package():
    imports = [
        node
        for node in ast.walk(ast.parse(CHECK.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert {alias.name for node in imports for alias in node.names} == {
        *("json", "os", "sys"),
        *("numpy", "tensorflow", "tensorflow_text"),
    }
    # tensorflow_text imports Keras by itself: the script must take it away again.
    code = f"""
import runpy, sys
check = runpy.run_path({str(CHECK)!r})
try:
    check["main"]("nothing", {os.devnull!r}, "nothing")
except ValueError:  # {os.devnull} is no JSON
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
    assert not any("keras" in kind for kind in kinds)


def test_signatures(exported):
    signatures = tf.saved_model.load(str(exported.directory)).signatures
    assert sorted(signatures) == ["serving_default", "tokens"]
    inputs = {name: signature.structured_input_signature[1] for name, signature in signatures.items()}
    assert inputs["serving_default"] == {"text": tf.TensorSpec([None], tf.string, "text")}
    assert inputs["tokens"] == {
        name: tf.TensorSpec([None, None], tf.int32, name) for name in ("token_ids", "padding_mask")
    }
    for signature in signatures.values():
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


def test_token_ids_beyond_the_limit_are_refused(exported):
    tokens = tf.saved_model.load(str(exported.directory)).signatures["tokens"]
    token_ids = tf.ones([1, POSITIONS + 1], tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"longer than the limit of {POSITIONS} tokens"):
        tokens(token_ids=token_ids, padding_mask=token_ids)
    assert tokens(token_ids=token_ids[:, 1:], padding_mask=token_ids[:, 1:])["embedding"].shape == (1, DIM)


@pytest.mark.parametrize("layer", range(LAYERS + 1))
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_layer_and_pooling(model, layer, pooling, normalize):
    module = EmbeddingModule(model, layer, pooling, normalize)
    vectors = module.predict(*module.text_to_ids(tf.constant(TEXTS)))["embedding"].numpy()
    expected = oracle(model, TEXTS, layer, pooling, normalize)
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [0, 1])
def test_layers_above_and_the_head_are_not_exported(model, layer, tmp_path):
    directory = export_embedding(model, tmp_path, layer=layer, verify=False).directory
    shapes = variable_shapes(directory)
    # Token and position tables and a layer norm; then 2 x 4 for attention, 2 x 2 dense, 2 x 2 layer norms.
    assert len(shapes) == 4 + 16 * layer
    rows = model.tokenizer.vocabulary_size + POSITIONS
    per_layer = 4 * DIM * (DIM + 1) + (DIM + 1) * 16 + (16 + 1) * DIM + 4 * DIM
    assert sum(np.prod(shape) for shape in shapes.values()) == rows * DIM + 2 * DIM + layer * per_layer
    for absent in [
        *(f"transformer_layer_{index}" for index in range(layer, LAYERS)),
        "mlm_head",
        "projection",
    ]:
        assert not any(absent in name for name in shapes)


def test_facts_and_defaults(model, exported, tokenizer):
    written = json.loads((exported.directory / "assets.extra" / "infoxlm.json").read_text())
    assert written == exported.facts
    assert written == {
        "format_version": 1,
        "head": "embedding",
        "layer": UNIVERSAL_LAYER,
        "pooling": "mean",
        "normalize": True,
        "dim": DIM,
        "max_length": POSITIONS,
        "tokenizer_fingerprint": tokenizer.fingerprint,
    }
    assert exported.size == sum(
        path.stat().st_size for path in exported.directory.rglob("*") if path.is_file()
    )
    trained = PretrainedModel(model.masked_lm, tokenizer, PretrainingInfo(1, "cls"))
    assert EmbeddingModule(trained, max_length=9).facts().items() >= {"layer": 1, "pooling": "cls"}.items()
    # Without a history: two thirds of three layers, and the mean.
    foreign = PretrainedModel(model.masked_lm, tokenizer, None)
    assert EmbeddingModule(foreign).facts().items() >= {"layer": 2, "pooling": "mean"}.items()


def test_max_length_cuts_the_text(model):
    module = EmbeddingModule(model, max_length=5)
    [row], [mask] = module.text_to_ids(tf.constant([b"the house river bridge green old"]))
    assert row.numpy().tolist() == padded_ids(model.tokenizer, [b"the house river bridge"], 5)[0][0].tolist()
    assert mask.numpy().tolist() == [1] * 5


def test_versions_count_up(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module.tf.saved_model, "save", lambda module, path, signatures: None)
    (tmp_path / "7").mkdir()
    for name in ("notes", "8x", ".9.partial-1"):
        (tmp_path / name).mkdir()
    assert export_embedding(model, tmp_path, verify=False).directory == tmp_path / "8"
    assert export_embedding(model, str(tmp_path), verify=False).directory == tmp_path / "9"
    assert export_embedding(model, tmp_path, version=3, verify=False).directory == tmp_path / "3"
    assert export_embedding(model, tmp_path, verify=False).directory == tmp_path / "10"
    assert export_embedding(model, tmp_path / "new", verify=False).directory == tmp_path / "new" / "1"
    with pytest.raises(InputError, match="this version exists"):
        export_embedding(model, tmp_path, version=7, verify=False)


WRONG_ANSWERS = [
    (
        lambda vectors: vectors + 2e-5 * np.eye(len(vectors), DIM),
        "tokens/embedding differs from the Keras model by",
    ),
    (lambda vectors: np.where(vectors > 0, vectors, np.nan), "tokens/embedding is not finite"),
    (lambda vectors: vectors[1:], "tokens/embedding .*(12, 8) for (13, 8)"),
]


@pytest.fixture
def answer_with(model, monkeypatch):
    """Lets the fresh process answer `tokens` with a function of the right vectors."""

    def patch(change):
        module = EmbeddingModule(model)

        def answers(directory, texts, token_ids, padding_mask):
            vectors = module.predict(token_ids, padding_mask)["embedding"].numpy()
            return {"serving_default/embedding": vectors, "tokens/embedding": change(vectors)}

        monkeypatch.setattr(verification, "run_in_fresh_process", answers)
        return module

    return patch


@pytest.mark.parametrize(("change", "message"), WRONG_ANSWERS)
def test_a_wrong_answer_is_found(answer_with, change, message):
    module = answer_with(change)
    with pytest.raises(RuntimeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        verification.verify_export(module, "serving/1", TEXTS)


def test_the_largest_difference_is_reported(answer_with):
    module = answer_with(lambda vectors: vectors - np.eye(len(vectors), DIM) * 4e-6)
    assert verification.verify_export(module, "serving/1", TEXTS) == pytest.approx(4e-6, rel=0.05)


def test_vectors_that_both_sides_fail_to_normalise_are_found(answer_with, monkeypatch):
    monkeypatch.setattr(embedding_module, "l2_normalize", lambda vectors: vectors * 1.01)
    with pytest.raises(RuntimeError, match="away from unit length"):
        verification.verify_export(answer_with(lambda vectors: vectors), "serving/1", TEXTS)


def test_a_fresh_process_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="does not load or answer by itself:(.|\n)*SavedModel"):
        verification.run_in_fresh_process(tmp_path, [b"text"], [[0, 2]], [[1, 1]])


@pytest.mark.parametrize("failure", [RuntimeError("answers wrongly"), KeyboardInterrupt()])
def test_a_failed_check_leaves_nothing(model, tmp_path, monkeypatch, failure):
    def fail(module, directory):
        raise failure

    monkeypatch.setattr(export_module, "verify_export", fail)
    with pytest.raises(type(failure)):
        export_embedding(model, tmp_path / "serving", layer=0)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_os_error_that_commands_report(model, tmp_path, monkeypatch):
    def fail(module, path, signatures):
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{path}/saved_model.pb.tmp; No space left on device"
        )

    monkeypatch.setattr(export_module.tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="No space left on device"):
        export_embedding(model, tmp_path / "serving", verify=False)
    assert list(tmp_path.iterdir()) == []


def test_masked_lm_fillings(model, tokenizer, tmp_path):
    texts = [b"the <mask> opens a <mask>", b"no mask", "<mask> и улица".encode(), b"", b"<mask>" * 100]
    directory = export_masked_lm(model, tmp_path, top_k=4, verify=False).directory
    signatures = tf.saved_model.load(str(directory)).signatures
    outputs = {
        name: value.numpy() for name, value in signatures["serving_default"](text=tf.constant(texts)).items()
    }
    module = MaskedLMModule(model, top_k=4)
    token_ids, padding_mask = (tensor.numpy() for tensor in module.text_to_ids(tf.constant(texts)))

    masks = POSITIONS - 2  # all that fit, in the last text
    assert {name: value.shape for name, value in outputs.items()} == dict.fromkeys(
        ("tokens", "token_ids", "probabilities"), (len(texts), masks, 4)
    )
    mask_id = tokenizer.vocabulary_size - 1
    for row in range(len(texts)):
        positions = np.flatnonzero(token_ids[row] == mask_id)
        assert len(positions) == [2, 0, 1, 0, masks][row]
        for name, empty in (("tokens", b""), ("token_ids", 1), ("probabilities", 0.0)):
            assert (outputs[name][row, len(positions) :] == empty).all()
        if not len(positions):
            continue
        inputs = {
            "token_ids": token_ids[[row]],
            "padding_mask": padding_mask[[row]],
            "mask_positions": positions[None],
        }
        logits = np.asarray(model.masked_lm(inputs), np.float64)[0]
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        for place in range(len(positions)):
            ranked = [token for token in np.argsort(-probabilities[place]) if 4 <= token < mask_id][:4]
            assert outputs["token_ids"][row, place].tolist() == ranked
            pieces = [tokenizer.processor.id_to_piece(int(token) - 1).encode() for token in ranked]
            assert outputs["tokens"][row, place].tolist() == pieces
            np.testing.assert_allclose(
                outputs["probabilities"][row, place], probabilities[place][ranked], atol=1e-5
            )
    by_ids = signatures["tokens"](token_ids=token_ids, padding_mask=padding_mask)
    assert (by_ids["tokens"].numpy() == outputs["tokens"]).all()
    empty = signatures["serving_default"](text=tf.constant([], tf.string))
    assert empty["tokens"].shape == (0, 0, 4)


def test_classifier_probabilities(classifier, tokenizer, tmp_path):
    directory = export_classifier(classifier, tokenizer, tmp_path, verify=False).directory
    probabilities = tf.saved_model.load(str(directory)).signatures["serving_default"](text=tf.constant(TEXTS))
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    logits = np.asarray(classifier({"token_ids": token_ids, "padding_mask": padding_mask}), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities["probabilities"], expected, rtol=0, atol=1e-5)


def test_a_classifier_with_softmax_is_not_normalised_twice(model, tokenizer):
    softmax = with_large_weights(
        keras_hub.models.XLMRobertaTextClassifier(model.backbone, num_classes=3, activation="softmax")
    )
    token_ids, padding_mask = padded_ids(tokenizer, TEXTS)
    expected = np.asarray(softmax({"token_ids": token_ids, "padding_mask": padding_mask}))
    answer = ClassifierModule(softmax, tokenizer).predict(token_ids, padding_mask)["probabilities"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-6)


def test_another_backend_is_refused_with_the_remedy(model, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND = jax: .* set KERAS_BACKEND=tensorflow"):
        EmbeddingModule(model)


@pytest.fixture(scope="module")
def presets(model, classifier, tmp_path_factory):
    """A directory with the presets `encoder` and `classifier`."""
    directory = tmp_path_factory.mktemp("presets")
    save_pretrained(directory / "encoder", model.masked_lm, model.tokenizer, model.info)
    classifier.save_to_preset(str(directory / "classifier"))
    (directory / "empty").mkdir()
    (directory / "file").write_text("text")
    return directory


def run_recipe(arguments, monkeypatch):
    """Exit status of the recipe, run in this process."""
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")  # the recipe sets it: undone after the test
    main = runpy.run_path(str(RECIPE))["main"]
    with pytest.raises(SystemExit) as exit:
        run_command(lambda: main([str(argument) for argument in arguments]))
    return exit.value.code


@pytest.mark.slow
def test_recipe_by_itself(presets, tmp_path):
    """As a user runs it, on a preset made under another backend (which is not even installed here)."""
    command = [
        sys.executable,
        RECIPE,
        "--model",
        presets / "encoder",
        "--output_dir",
        tmp_path / "out",
        "--layer",
        "1",
    ]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    output = process.stdout
    assert output.index("layer ") < output.index("checked in a fresh process") < output.index("size on disk")
    assert "largest difference from Keras" in output
    assert output.endswith(f"wrote {tmp_path / 'out' / '1'}\n")
    loaded = tf.saved_model.load(str(tmp_path / "out" / "1")).signatures["serving_default"]
    expected = oracle(load_pretrained(presets / "encoder"), TEXTS, 1, "mean")
    np.testing.assert_allclose(loaded(text=tf.constant(TEXTS))["embedding"], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("head", "preset"), [("masked_lm", "encoder"), ("classifier", "classifier")])
def test_recipe_exports_and_checks_the_other_heads(head, preset, presets, tmp_path, monkeypatch, capsys):
    arguments = ["--model", presets / preset, "--output_dir", tmp_path, "--head", head, "--max_length", 12]
    assert run_recipe([*arguments, "--model_version", 4], monkeypatch) == 0
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / '4'}\n")
    facts = json.loads((tmp_path / "4" / "assets.extra" / "infoxlm.json").read_text())
    assert (facts["head"], facts["max_length"]) == (head, 12)


BAD_INPUT = [
    ("layer above", ["--layer", LAYERS + 1], [f"layer {LAYERS + 1}", f"0..{LAYERS}"]),
    ("layer below", ["--layer", -1], ["layer -1", f"0..{LAYERS}"]),
    (
        "more tokens than positions",
        ["--max_length", POSITIONS + 1],
        [f"max_length = {POSITIONS + 1}", f"{POSITIONS} positions"],
    ),
    ("too few tokens", ["--max_length", 2], ["max_length = 2", "at least 3"]),
    ("version", ["--model_version", 0], ["version 0", "at least 1"]),
    ("no such directory", ["--model", "{presets}/nothing"], ["{presets}/nothing", "no such directory"]),
    ("not a preset", ["--model", "{presets}/empty"], ["{presets}/empty", "config.json"]),
    ("a file", ["--model", "{presets}/file"], ["{presets}/file"]),
    ("unknown name", ["--model", "no_such_preset"], ["no_such_preset"]),
    ("no classifier", ["--head", "classifier"], ["{presets}/encoder", "holds no classifier", "fine-tune"]),
    (
        "no masked-LM head",
        ["--head", "masked_lm", "--model", "{presets}/classifier"],
        ["{presets}/classifier", "no trained masked-LM head", "recipes/pretrain.py"],
    ),
    ("fillings", ["--head", "masked_lm", "--top_k", 0], ["top_k = 0", "1..251"]),
    (
        "setting of another head",
        ["--head", "classifier", "--layer", 1],
        ["--layer 1", "embedding", "leave it out"],
    ),
    ("output is a file", ["--output_dir", "{presets}/file"], ["{presets}/file", "another output directory"]),
    ("output below a file", ["--output_dir", "{presets}/file/out"], ["{presets}/file", "Not a directory"]),
]


@pytest.mark.parametrize(
    ("arguments", "words"), [case[1:] for case in BAD_INPUT], ids=[case[0] for case in BAD_INPUT]
)
def test_bad_input(arguments, words, presets, tmp_path, monkeypatch, capsys):
    given = [str(argument).format(presets=presets) for argument in arguments]
    defaults = ["--model", presets / "encoder", "--output_dir", tmp_path / "out"]
    assert run_recipe([*defaults, *given], monkeypatch) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("error: ")
    for word in words:
        assert word.format(presets=presets) in message
    assert list(tmp_path.iterdir()) == []
    assert (presets / "file").read_text() == "text"


def test_recipe_refuses_a_version_that_exists(presets, tmp_path, monkeypatch, capsys):
    (tmp_path / "2").mkdir()
    arguments = ["--model", presets / "encoder", "--output_dir", tmp_path, "--model_version", 2]
    assert run_recipe(arguments, monkeypatch) == 2
    assert "this version exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
