"""Warm-up requests: a server sends them to a version before it serves it, so that the first client does not wait.

TensorFlow Serving replays `assets.extra/tf_serving_warmup_requests`, a TFRecord file of `PredictionLog` messages (at
most 1,000), when it loads a version. First requests are slow, because TensorFlow creates kernels and buffers. The file
covers all signatures and the usual shapes: single requests, small and full batches, the shortest and the longest text.
"""

import importlib.util
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, without_wildcards
from infoxlm_keras.serving.saved_model import REMEDY, check_export

if TYPE_CHECKING:
    import types

    from infoxlm_keras.serving.serving_module import ServingModule

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
BATCH_SIZES = (1, 8, 32)
# Repeated to reach a length. It has several scripts, so that the tokenizer's tables are loaded.
SENTENCE = "The file could not be opened. Файл не открывается. 无法打开文件。 फ़ाइल नहीं खुली। "
REPETITIONS = (0, 1, 4)
LONGEST_REPETITIONS = 200


def can_write_warmup() -> bool:
    """Whether tensorflow-serving-api, whose messages the file holds, is installed."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def write_warmup(directory: PathLike, module: "ServingModule", model_name: str) -> int:
    """Writes the warm-up file of a version.

    Args:
        directory: path of the SavedModel.
        module: `ServingModule` that was saved there.
        model_name: str, name of the model at the server.

    Returns:
        int, number of records.
    """
    _, prediction_log_pb2 = messages()
    path = pathlib.Path(directory) / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with tf.io.TFRecordWriter(str(path)) as writer:
        for texts in warmup_batches():
            token_ids, padding_mask = (tensor.numpy() for tensor in module.text_to_ids(tf.constant(texts)))
            requests = module.exported(module.requests(texts, token_ids, padding_mask))
            for signature, inputs in requests.items():
                log = prediction_log_pb2.PredictionLog()
                log.predict_log.request.CopyFrom(predict_request(model_name, signature, inputs))
                writer.write(log.SerializeToString(deterministic=True))
                count += 1
    return count


def read_warmup(directory: PathLike) -> list[Any]:
    """The requests in the warm-up file of a version: list of `PredictRequest`.

    Raises:
        InputError: if there is no such file, it is damaged, or tensorflow-serving-api is missing.
    """
    _, prediction_log_pb2 = messages()
    path = pathlib.Path(directory) / WARMUP_FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; export the model again with infoxlm_keras[serving] installed")
    check_export(directory, [WARMUP_FILE])
    with without_wildcards(path.parent) as plain, parsing(path, "a file of warm-up requests", REMEDY):
        records = tf.data.TFRecordDataset(f"{plain}/{path.name}").as_numpy_iterator()
        requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    if not requests:
        raise InputError(f"{path}: holds no request; {REMEDY}")
    return requests


def warmup_batches() -> Iterator[list[bytes]]:
    """Lists of texts (bytes): each batch size with mixed lengths, and one text of the model's maximum length."""
    for size in BATCH_SIZES:
        yield [(SENTENCE * REPETITIONS[-1 - number % len(REPETITIONS)]).encode() for number in range(size)]
    yield [(SENTENCE * LONGEST_REPETITIONS).encode()]


def predict_request(model_name: str, signature: str, inputs: Mapping[str, Any]) -> Any:
    """A `PredictRequest`.

    Args:
        model_name, signature: str.
        inputs: dict of input name to a list of bytes or an int array.
    """
    predict_pb2, _ = messages()
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature
    for name, values in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return request


def messages() -> "tuple[types.ModuleType, types.ModuleType]":
    """The modules `predict_pb2` and `prediction_log_pb2` of tensorflow-serving-api.

    Raises:
        InputError: if it is not installed.
    """
    if not can_write_warmup():
        raise InputError("tensorflow-serving-api is not installed: pip install infoxlm_keras[serving]")
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    return predict_pb2, prediction_log_pb2
