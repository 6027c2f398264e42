"""The ONNX file against NumPy's vectors, in ONNX Runtime and in OpenVINO, and the folder around it."""

import json
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting import to_onnx
from infoxlm_keras.exporting.onnx_encoder import int8_rows
from infoxlm_keras.exporting.to_onnx import export_onnx, onnx_embedder
from infoxlm_keras.exporting.to_openvino import openvino_embedder
from infoxlm_keras.files import MODEL_FOLDER, check_output
from infoxlm_keras.models import hidden_state_model
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from tiny_export import DIM, LAYERS, POSITIONS, TEXTS, expected_vectors, padded_ids


@pytest.fixture(scope="module")
def model(tiny_masked_lm, tokenizer):
    return PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """The encoder at the universal layer, which is 1 of 2."""
    return export_onnx(model, tmp_path_factory.mktemp("exports") / "onnx")


@pytest.fixture(scope="module")
def session(exported):
    return onnxruntime.InferenceSession(str(exported.directory / "onnx" / "model.onnx"))


def inputs(token_ids, padding_mask):
    return {"input_ids": token_ids.astype(np.int64), "attention_mask": padding_mask.astype(np.int64)}


@pytest.mark.parametrize(
    ("layer", "pooling", "normalize", "dim"),
    [
        (1, "mean", True, DIM),
        (2, "cls", True, 3),
        (2, "max", False, 5),
        (0, "mean", False, DIM),
        (0, "cls", True, DIM),
    ],
)
def test_vectors_are_those_of_numpy(model, tmp_path, layer, pooling, normalize, dim):
    exported = export_onnx(model, tmp_path / "onnx", layer, pooling, normalize, dimensions=dim)
    assert 0 <= exported.max_difference < 1e-5
    embed = onnx_embedder(exported.directory / "onnx" / "model.onnx", threads=1)
    vectors = embed(*padded_ids(model.tokenizer, TEXTS))
    expected = expected_vectors(model, TEXTS, layer, pooling, normalize=False)[:, :dim]
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embed(*padded_ids(model.tokenizer, [text]))[0], vector, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 5), st.integers(2, 12), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_mask(session, model, rows, length, random):
    """Padding in front, between and behind, and rows of padding alone."""
    generator = np.random.default_rng(random.getrandbits(32))
    token_ids = generator.integers(4, model.tokenizer.vocabulary_size, (rows, length)).astype(np.int32)
    padding_mask = (generator.random((rows, length)) < generator.random((rows, 1))).astype(np.int32)
    vectors, states = session.run(None, inputs(token_ids, padding_mask))
    reference = hidden_state_model(model.backbone, 1)({"token_ids": token_ids, "padding_mask": padding_mask})
    kept = np.asarray(reference, np.float64) * padding_mask[:, :, None]
    # Keras lets padding look at tokens; only what tokens see is defined.
    np.testing.assert_allclose(states, kept, rtol=0, atol=1e-5)
    total = kept.sum(axis=1)
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, total / np.where(norms > 0, norms, 1), rtol=0, atol=1e-5)


def test_names_types_and_operators(exported, session):
    assert [(tensor.name, tensor.shape, tensor.type) for tensor in session.get_inputs()] == [
        (name, ["batch", "length"], "tensor(int64)") for name in ("input_ids", "attention_mask")
    ]
    assert [(tensor.name, tensor.shape, tensor.type) for tensor in session.get_outputs()] == [
        ("sentence_embedding", ["batch", DIM], "tensor(float)"),
        ("last_hidden_state", ["batch", "length", DIM], "tensor(float)"),
    ]
    graph = onnx.load(exported.directory / "onnx" / "model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    assert {node.domain for node in graph.graph.node} == {""}
    assert [opset.version for opset in graph.opset_import] == [20]
    names = [constant.name for constant in graph.graph.initializer]
    assert "encoder.layer.0.intermediate.dense.weight" in names
    assert not any(name.startswith(f"encoder.layer.{LAYERS - 1}.") for name in names)


def test_openvino_gives_the_same_vectors(exported, model):
    core = openvino.Core()
    path = exported.directory / "onnx" / "model.onnx"
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    vectors = compiled(inputs(*padded_ids(model.tokenizer, TEXTS)))["sentence_embedding"]
    np.testing.assert_allclose(vectors, expected_vectors(model, TEXTS, 1, "mean"), rtol=0, atol=1e-5)


def test_openvinos_own_form(model, tmp_path):
    """In the place and under the names that sentence-transformers' backend looks for; a name that is a pattern."""
    export = export_onnx(model, tmp_path / "export [v1]", openvino=True)
    path = export.directory / "openvino" / "openvino_model.xml"
    assert {file.name for file in path.parent.iterdir()} == {path.name, "openvino_model.bin"}
    vectors = openvino_embedder(path)(*padded_ids(model.tokenizer, TEXTS))
    np.testing.assert_allclose(vectors, expected_vectors(model, TEXTS, 1, "mean"), rtol=0, atol=1e-5)
    shutil.copy(path, tmp_path)
    shutil.copy(path.with_suffix(".bin"), tmp_path)
    core = openvino.Core()
    read = core.read_model(str(tmp_path / path.name))
    assert {name for port in read.inputs for name in port.get_names()} == {"input_ids", "attention_mask"}
    names = {name for port in read.outputs for name in port.get_names()}
    assert names >= {"sentence_embedding", "last_hidden_state"}
    check_output(export.directory, replace=True, contents=MODEL_FOLDER)


def test_openvino_is_of_float32_and_needs_its_library(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="--openvino: is written in float32; leave out --precision int8"):
        export_onnx(model, tmp_path / "onnx", precision="int8", openvino=True)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r'needs openvino: pip install "infoxlm_keras\[openvino\]"'):
        export_onnx(model, tmp_path / "onnx", openvino=True)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_tokenizes_and_pools_alike(exported, session, model):
    """What sentence-transformers does with the folder: tokenizer.json, `last_hidden_state`, modules.json."""
    texts = ["улица и the house", "", "Haus"]
    tokenizer = tokenizers.Tokenizer.from_file(str(exported.directory / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    encoded = tokenizer.encode_batch(texts)
    token_ids, mask = (np.array([getattr(row, name) for row in encoded]) for name in ("ids", "attention_mask"))
    _, states = session.run(None, inputs(token_ids, mask))
    modules = json.loads((exported.directory / "modules.json").read_text())
    assert [module["type"].rpartition(".")[2] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    pooling = json.loads((exported.directory / "1_Pooling" / "config.json").read_text())
    assert pooling["pooling_mode_mean_tokens"] and pooling["word_embedding_dimension"] == DIM
    means = states.sum(axis=1) / mask.sum(axis=1, keepdims=True)
    vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
    expected = expected_vectors(model, [text.encode() for text in texts], 1, "mean")
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
    config = json.loads((exported.directory / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("xlm-roberta", 1, DIM)


def test_sentencepiece_gives_the_ids_of_training_for_any_text(exported, model):
    """The line of docs/serving.md; the folder's tokenizer.json reads the same texts otherwise."""
    texts = ["the house", "a </s> b <mask> c", "<s>", "x\u0085y", "", "\U0001f600 \u2603"]
    processor = sentencepiece.SentencePieceProcessor(model_file=str(exported.directory / "sentencepiece.bpe.model"))
    rows = [[0, *(piece + 1 if piece else 3 for piece in text[:510]), 2] for text in processor.encode(texts)]
    assert rows == [[0, *ids, 2] for ids in model.tokenizer.encode(texts)]
    theirs = tokenizers.Tokenizer.from_file(str(exported.directory / "tokenizer.json"))
    different = [text for text, row in zip(texts, rows, strict=True) if theirs.encode(text).ids != row]
    assert set(different) >= {"a </s> b <mask> c", "<s>"}


def test_ids_out_of_the_vocabulary(session, model):
    """As docs/serving.md says: one below 0 counts from the end, one beyond is an error, padding holds any."""
    size = model.tokenizer.vocabulary_size
    mask = np.array([[1, 1, 1, 0]])

    def vectors(token, padding=1):
        return session.run(["sentence_embedding"], inputs(np.array([[0, token, 2, padding]]), mask))[0]

    np.testing.assert_array_equal(vectors(-1), vectors(size - 1))
    np.testing.assert_array_equal(vectors(5, padding=size + 7), vectors(5))
    with pytest.raises(Exception, match="out of data bounds"):
        vectors(size)


def test_facts(exported, tokenizer):
    assert json.loads((exported.directory / "onnx" / "infoxlm.json").read_text()) == exported.facts
    assert exported.facts == {
        "layer": 1,
        "pooling": "mean",
        "normalize": True,
        "dim": DIM,
        "max_length": POSITIONS,
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "precision": "float32",
    }
    assert exported.size == (exported.directory / "onnx" / "model.onnx").stat().st_size


def test_int8_is_smaller_and_points_the_same_way(exported, model, tmp_path):
    small = export_onnx(model, tmp_path / "onnx", precision="int8")
    path = small.directory / "onnx" / "model.onnx"
    kinds = {constant.name: constant.data_type for constant in onnx.load(path).graph.initializer}
    assert kinds["embeddings.word_embeddings.weight"] == onnx.TensorProto.INT8
    assert "encoder.layer.0.output.dense.weight" not in kinds
    assert kinds["encoder.layer.0.output.dense.weight_quantized"] == onnx.TensorProto.INT8
    assert small.facts["precision"] == "int8"
    assert 1e-5 < small.max_difference < 0.1
    vectors = onnx_embedder(path)(*padded_ids(model.tokenizer, TEXTS))
    assert (vectors * expected_vectors(model, TEXTS, 1, "mean")).sum(axis=1).min() > 0.995
    assert sorted(path.name for path in small.directory.glob("onnx/*")) == ["infoxlm.json", "model.onnx"]


def test_rows_of_an_int8_table():
    table = np.random.default_rng(2).normal(0, 1, (9, 5)).astype(np.float32) * 10.0 ** np.arange(-4, 5)[:, None]
    table[3] = 0
    stored, scale = int8_rows(table.astype(np.float32))
    assert stored.dtype == np.int8 and scale.shape == (9, 1)
    bound = np.abs(table).max(axis=1, keepdims=True) / 254 * 1.0001
    assert (np.abs(stored * scale - table) <= bound).all()


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_large_model_keeps_its_weights_apart(model, tmp_path, monkeypatch, precision):
    monkeypatch.setattr(to_onnx, "MOST_BYTES_INSIDE", 0)
    exported = export_onnx(model, tmp_path / "onnx", precision=precision)  # opened and compared
    names = sorted(path.name for path in exported.directory.glob("onnx/model*"))
    assert names == ["model.onnx", "model.onnx_data"][: 2 if precision == "float32" else 1]
    assert exported.size == sum((exported.directory / "onnx" / name).stat().st_size for name in names)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda vectors: vectors + np.float32(3e-5), "differ from the Keras model's by 3.0"),
        (lambda vectors: vectors * np.nan, "not finite"),
        (lambda vectors: vectors[:, 1:], rf"\({10}, {DIM - 1}\) for \(10, {DIM}\)"),
    ],
)
def test_wrong_vectors_leave_nothing(model, tmp_path, monkeypatch, change, message):
    def wrong(path):
        embed = onnx_embedder(path)
        return lambda *arguments: change(embed(*arguments))

    monkeypatch.setattr(to_onnx, "onnx_embedder", wrong)
    with pytest.raises(RuntimeError, match=f"onnx/model.onnx: its vectors .*{message}"):
        export_onnx(model, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": LAYERS + 1}, f"layer {LAYERS + 1}: the encoder has hidden states 0..{LAYERS}"),
        ({"layer": -1}, "layer -1: the encoder has hidden states 0"),
        ({"pooling": "sum"}, "pooling = 'sum'"),
        ({"dimensions": DIM + 1}, f"dimensions = {DIM + 1}: the model's vectors have {DIM}"),
        ({"max_length": POSITIONS + 1}, f"max_length = {POSITIONS + 1}: must be in 3..{POSITIONS}"),
        ({"max_length": 2}, "max_length = 2"),
        ({"precision": "int4"}, "precision = 'int4': must be one of float32, int8"),
    ],
)
def test_what_cannot_be_is_refused(model, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        export_onnx(model, tmp_path / "onnx", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_tokenizers_limit_is_the_exports(model, tmp_path):
    directory = export_onnx(model, tmp_path / "onnx", max_length=20).directory
    assert json.loads((directory / "tokenizer_config.json").read_text())["model_max_length"] == 20
    assert json.loads((directory / "sentence_bert_config.json").read_text())["max_seq_length"] == 20


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named(model, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf'needs {library}: pip install "infoxlm_keras\[onnx\]"'):
        export_onnx(model, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []
