"""What a TensorFlow Serving reads beside the graph: warm-up requests and configuration, in its own messages."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.config import model_server_config_pb2

from infoxlm_keras.errors import InputError
from infoxlm_keras.models import QuestionAnswering, TokenClassification
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo
from infoxlm_keras.serving import (
    ClassifierModule,
    EmbeddingModule,
    MaskedLMModule,
    QuestionAnsweringModule,
    TaggingModule,
    read_warmup,
    warmup,
)
from infoxlm_keras.serving.export import export_module
from infoxlm_keras.serving.server_files import write_server_files
from tiny_export import POSITIONS, TEXTS, tiny_classifier

# The fields of the server's BatchingParameters, by name; `name { value: N }` are wrapped numbers.
BATCHING_FIELD = re.compile(
    r"(max_batch_size|batch_timeout_micros|max_enqueued_batches|num_batch_threads) \{ value: \d+ \}"
)


HIDDEN_OPERATIONS = {"Const", "Placeholder", "NoOp", "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf"}
# What docs/serving.md says that a server must link.
ENCODING = {"SentencepieceOp", "SentencepieceTokenizeOp"}
OPERATIONS = {
    "embedding": ENCODING,
    "classifier": ENCODING,
    "masked_lm": ENCODING | {"SentencepieceIdToStringOp"},
    "qa": ENCODING | {"SentencepieceTokenizeWithOffsetsOp"},
    "tagging": ENCODING | {"TFText>WhitespaceTokenizeWithOffsetsV2"},
}


def operations_of_tensorflow_text(directory):
    """Names of the operations in a SavedModel that are not TensorFlow's own."""
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((directory / "saved_model.pb").read_bytes())
    graph = saved_model.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    functions = {function.signature.name for function in graph.library.function}
    return {node.op for node in nodes if not hasattr(tf.raw_ops, node.op)} - functions - HIDDEN_OPERATIONS


@pytest.fixture(scope="module")
def modules(tiny_masked_lm, tokenizer):
    model = PretrainedModel(tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    return {
        "embedding": EmbeddingModule(model),
        "masked_lm": MaskedLMModule(model),
        "classifier": ClassifierModule(tiny_classifier(model.backbone, tokenizer), tokenizer),
        "qa": QuestionAnsweringModule(QuestionAnswering(model.backbone), tokenizer),
        "tagging": TaggingModule(TokenClassification(model.backbone, 2), tokenizer, ["O", "B-PER"]),
    }


@pytest.mark.parametrize("head", ["embedding", "masked_lm", "classifier", "qa", "tagging"])
def test_the_warm_up_file_replays(modules, head, tmp_path):
    result = export_module(modules[head], tmp_path / "name" / "1", verify=False)
    assert operations_of_tensorflow_text(result.directory) == OPERATIONS[head]
    requests = read_warmup(result.directory)
    assert len(requests) == result.warmup_records
    signatures = tf.saved_model.load(str(result.directory), tags=["serve"]).signatures
    assert {request.model_spec.signature_name for request in requests} == set(signatures)
    batches, lengths = set(), set()
    for request in requests:
        assert request.model_spec.name == "name"
        # Over the wire and back, as the server gets it.
        request = predict_pb2.PredictRequest.FromString(request.SerializeToString())
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        signature = signatures[request.model_spec.signature_name]
        assert {name: tensor.dtype for name, tensor in inputs.items()} == {
            name: specification.dtype for name, specification in signature.structured_input_signature[1].items()
        }
        response = predict_pb2.PredictResponse()
        for name, value in signature(**inputs).items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        response = predict_pb2.PredictResponse.FromString(response.SerializeToString())
        for tensor in response.outputs.values():
            values = tf.make_ndarray(tensor)
            assert len(values) == len(next(iter(inputs.values())))
            assert values.dtype == object or np.isfinite(values).all()
        batches.add(len(next(iter(inputs.values()))))
        if "token_ids" in inputs:
            lengths.add(inputs["token_ids"].shape[1])
    assert batches >= {1, 8, 32} and max(lengths) == POSITIONS


@pytest.mark.parametrize("head", ["embedding", "classifier", "qa", "tagging"])
def test_token_ids_alone_need_no_operation_of_tensorflow_text(modules, head, tmp_path, monkeypatch):
    monkeypatch.setattr(modules[head], "tokens_only", False)  # put back after the test
    verify = head == "embedding"
    result = export_module(modules[head], tmp_path / "name" / "1", verify=verify, tokens_only=True)
    assert operations_of_tensorflow_text(result.directory) == set()
    assert {request.model_spec.signature_name for request in read_warmup(result.directory)} == {"tokens"}
    loaded = tf.saved_model.load(str(result.directory))
    assert list(loaded.signatures) == ["tokens"]
    token_ids, padding_mask = modules[head].text_to_ids(tf.constant(TEXTS[:3]))
    expected = modules[head].reference(token_ids, padding_mask)
    for name, value in loaded.signatures["tokens"](token_ids=token_ids, padding_mask=padding_mask).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5)


def test_the_masked_lm_needs_strings(modules, tmp_path):
    with pytest.raises(InputError, match="masked_lm head answers strings"):
        export_module(modules["masked_lm"], tmp_path / "name" / "1", tokens_only=True)


def test_configuration_files(modules, tmp_path):
    export_module(modules["embedding"], tmp_path / "infoxlm" / "1", verify=False)
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((tmp_path / "infoxlm" / "models.config").read_text(), config)
    [model] = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("infoxlm", "/models/infoxlm", "tensorflow")
    assert model.model_version_policy.latest.num_versions == 1
    lines = (tmp_path / "infoxlm" / "batching_parameters.txt").read_text().splitlines()
    settings = [line for line in lines if not line.startswith("#")]
    assert settings.pop() == "pad_variable_length_inputs: true"
    assert len(settings) == 4 and all(BATCHING_FIELD.fullmatch(line) for line in settings)
    assert lines[0].endswith("--batching_parameters_file=/models/infoxlm/batching_parameters.txt")


def test_changed_configuration_files_are_kept(tmp_path):
    (tmp_path / "models.config").write_text("mine")
    write_server_files(tmp_path, "name")
    assert (tmp_path / "models.config").read_text() == "mine"
    with pytest.raises(InputError, match="model name 'a/b': must be letters"):
        write_server_files(tmp_path, "a/b")


def test_without_the_messages_an_export_has_no_warm_up(modules, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = export_module(modules["embedding"], tmp_path / "name" / "1", verify=False)
    assert result.warmup_records is None
    assert not (result.directory / warmup.WARMUP_FILE).exists()
    with pytest.raises(InputError, match=r"pip install infoxlm_keras\[serving\]"):
        read_warmup(result.directory)


def test_a_version_without_warm_up_is_told(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_warmup(tmp_path)


def test_another_runtime_gives_the_same_vectors(modules, tmp_path):
    """OpenVINO reads the exported graph and runs it without TensorFlow's kernels."""
    openvino = pytest.importorskip("openvino")
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    module = modules["embedding"]
    directory = export_module(module, tmp_path / "name" / "1", verify=False).directory
    loaded = tf.saved_model.load(str(directory))
    frozen = convert_variables_to_constants_v2(loaded.signatures["tokens"])
    path = pathlib.Path(tmp_path / "tokens.pb")
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    # By default OpenVINO computes in bfloat16 where the processor can.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.convert_model(str(path)), "CPU", options)
    for count in (1, 3, len(TEXTS)):
        token_ids, padding_mask = (tensor.numpy() for tensor in module.text_to_ids(tf.constant(TEXTS[:count])))
        by_name = {"token_ids": token_ids, "padding_mask": padding_mask}
        feed = {port: by_name[port.any_name.partition(":")[0]] for port in compiled.inputs}
        [vectors] = compiled(feed).values()
        expected = module.reference(tf.constant(token_ids), tf.constant(padding_mask))["embedding"]
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
