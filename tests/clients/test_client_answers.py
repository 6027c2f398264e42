"""What servers may send that is no answer: each ends a client with one line and exit code 2, in time."""

import concurrent.futures
import contextlib
import gzip
import json
import socket
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2

from infoxlm_keras.errors import InputError
from repository import CLIENTS
from running import refused, run

sys.path.insert(0, str(CLIENTS))
import client_output  # noqa: E402
import grpc_predict  # noqa: E402
import rest  # noqa: E402

LONGEST_MESSAGE = 600
GOOD = [[0.5, 0.25]]


@contextlib.contextmanager
def http_server(handle):
    """Yields the address of a server; `handle` gets each connection's socket after its request was read."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(1 << 16)
            head, _, body = request.partition(b"\r\n\r\n")
            lengths = [
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l")
            ]
            while len(body) < sum(lengths):
                body += connection.recv(1 << 16)
            handle(connection, stopped)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def response(body, status="200 OK", headers=()):
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def outputs(value):
    return response(json.dumps({"outputs": value}).encode())


def refused_by_rest(capsys, handle, *arguments):
    with http_server(handle) as address:
        message = refused(capsys, rest.main, "--address", address, "--text", "a", "--timeout", 5, *arguments)
    assert address in message and len(message) < LONGEST_MESSAGE
    return message


ANSWERS = {
    "empty": (response(b""), "is not an answer of TensorFlow Serving"),
    "html": (response(b"<html><body>It works!</body></html>"), "is not an answer of TensorFlow Serving"),
    "binary": (response(bytes(range(256)) * 50), "is not an answer of TensorFlow Serving"),
    "half": (response(b'{"outputs": [[0.5'), "is not an answer of TensorFlow Serving"),
    "nested": (response(b"[" * 100_000), "nested too deeply"),
    "digits": (response(b'{"outputs": [' + b"9" * 100_000 + b"]}"), "is not an answer of TensorFlow Serving"),
    "list": (response(b"[1, 2]"), "the answer is not TensorFlow Serving's"),
    "number": (response(b"7"), "the answer is not TensorFlow Serving's"),
    "null": (response(b"null"), "the answer is not TensorFlow Serving's"),
    "other keys": (response(b'{"predictions": [1]}'), "the answer is not TensorFlow Serving's"),
    "no output": (outputs({}), "the server answered no output"),
    "null output": (outputs(None), "without a row for each text"),
    "text output": (outputs("x"), "without a row for each text"),
    "number output": (outputs({"embedding": 5}), "without a row for each text"),
    "object output": (outputs({"embedding": {"a": 1}}), "without a row for each text"),
    "rows": (outputs({"embedding": GOOD * 2}), "answered 2 rows of embedding to 1 texts"),
    "lone rows": (outputs(GOOD * 2), "answered 2 rows of output to 1 texts"),
    "null value": (outputs({"embedding": [[0.5, None]]}), "answered None, which is no value of a tensor"),
    "object value": (outputs({"embedding": [[{"c64": "x"}]]}), "which is no value of a tensor"),
    "ragged": (outputs({"embedding": [[[1, 2], [3]]]}), "lists of different shapes"),
    "deep": (outputs({"embedding": [[[[[[[[[[1]]]]]]]]]]}), "nested more than 8 deep"),
    "nan": (response(b'{"outputs": {"embedding": [[0.5, NaN]]}}'), "answered NaN, which is no number"),
    "infinity": (response(b'{"outputs": [[-Infinity]]}'), "answered -Infinity, which is no number"),
    "1e999": (response(b'{"outputs": {"embedding": [[1e999]]}}'), "answered inf, which is no number"),
    "key twice": (response(b'{"outputs": [[1]], "outputs": [[2]]}'), "the key 'outputs' is given twice"),
    "output twice": (response(b'{"outputs": {"a": [[1]], "a": [[2]]}}'), "the key 'a' is given twice"),
    "truth": (outputs({"embedding": [[0.5, True]]}), "answered True, which is no number"),
    "truths": (outputs([[True, False]]), "answered True, which is no number"),
    "mixed": (outputs({"embedding": [[0.5, "x"]]}), "with numbers and text"),
    "no gzip": (response(b"plain", headers=["Content-Encoding: gzip"]), "breaks off or is damaged"),
    "cut": (response(b"x" * 100)[:-50], "breaks off or is damaged"),
    "redirect": (response(b"", "302 Found", ["Location: http://127.0.0.1:1/"]), "sends on to http://127.0.0.1:1/"),
    "redirect to nowhere": (response(b"", "301 Moved"), "the server answered 301: Moved"),
    "not found": (response(b'{"error": "Servable not found"}', "404 Not Found"), "answered 404: Servable not found"),
    "html 500": (response(b"<html>\n" * 1000, "500 Internal Server Error"), "answered 500: Internal Server Error"),
    "busy": (response(b"", "503 Service Unavailable"), "answered 503: Service Unavailable"),
    "long error": (response(json.dumps({"error": "x\n" * 9999}).encode(), "400 Bad"), "answered 400: x x x"),
    "odd error": (response(b'{"error": [{"a": null}]}', "400 Bad"), "answered 400: [{'a': None}]"),
    "nested error": (response(b"[" * 100_000, "400 Bad Request"), "answered 400: Bad Request"),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", "answered 204: No Content"),
    "no reason": (b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", "answered 500: no reason"),
    "no http": (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
    "nothing": (b"", "does not speak HTTP"),
    "long header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "does not speak HTTP"),
    "control": (b"HTTP/1.1 500 \xff\x1b[31m\r\nContent-Length: 0\r\n\r\n", "the server answered 500"),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_an_odd_answer_over_rest(name, capsys):
    content, words = ANSWERS[name]
    assert words in refused_by_rest(capsys, lambda connection, stopped: connection.sendall(content))


def test_good_answers_in_other_forms_are_read(capsys):
    body = json.dumps({"outputs": {"embedding": GOOD}}).encode()
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    for content in (
        response(body),
        response(gzip.compress(body), headers=["Content-Encoding: gzip"]),
        chunked,
        response(b"\xef\xbb\xbf"[:0] + body, headers=["Content-Type: text/html"]),
    ):
        with http_server(lambda connection, stopped, content=content: connection.sendall(content)) as address:
            run(rest.main, "--address", address, "--text", "a")
        assert json.loads(capsys.readouterr().out) == {"embedding": GOOD[0]}


def test_without_metadata_a_lone_output_is_named_output_and_said(capsys):
    with http_server(lambda connection, stopped: connection.sendall(outputs(GOOD * 3))) as address:
        run(rest.main, "--address", address, *["--text", "a"] * 6, "--batch_size", 3)
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == [{"output": GOOD[0]}] * 6
    assert captured.err.count("\n") == 1 and captured.err.startswith("note: the answers are printed as 'output'")


def drip(connection, stopped, content):
    for number in range(len(content)):
        connection.sendall(content[number : number + 1])
        if stopped.wait(0.1):
            return


@pytest.mark.parametrize(
    "content",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000,
        b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 500,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500,
        b"HTTP/1.1 " + b"2" * 1000,
        b"",
    ],
    ids=["body", "headers", "chunks", "status", "silence"],
)
def test_the_time_limit_holds_for_a_request_that_drips(content, capsys):
    def handle(connection, stopped):
        if content:
            drip(connection, stopped, content * 100)
        stopped.wait(30)

    started = time.monotonic()
    message = refused_by_rest(capsys, handle, "--timeout", 1)
    assert time.monotonic() - started < 4
    assert "no whole answer in 1 s" in message


def test_metadata_that_drips_is_within_the_limit(capsys):
    calls = []

    def handle(connection, stopped):
        calls.append(1)
        if len(calls) == 1:
            connection.sendall(outputs(GOOD))
        else:
            drip(connection, stopped, b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000)

    started = time.monotonic()
    with http_server(handle) as address:
        run(rest.main, "--address", address, "--text", "a", "--timeout", 1)
    assert time.monotonic() - started < 4
    assert json.loads(capsys.readouterr().out) == {"output": GOOD[0]}


def test_an_answer_without_end_is_cut(capsys, monkeypatch):
    monkeypatch.setattr(rest, "MOST_ANSWER_BYTES", 1 << 20)

    def handle(connection, stopped):
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not stopped.is_set():
            connection.sendall(b" " * (1 << 16))

    assert "the answer is longer than 1,048,576 bytes" in refused_by_rest(capsys, handle)
    bomb = response(gzip.compress(b" " * (1 << 26)), headers=["Content-Encoding: gzip"])
    assert "the answer is longer than" in refused_by_rest(capsys, lambda connection, _: connection.sendall(bomb))


@pytest.mark.parametrize(
    "address", ["localhost:8501", "ftp://x", "http://", "http://[", "http://a b", "http://" + "x" * 300]
)
def test_an_odd_address(address, capsys):
    message = refused(capsys, rest.main, "--address", address, "--text", "a", "--timeout", 5)
    assert address[:20] in message


@contextlib.contextmanager
def grpc_server(answer):
    """Yields the address of a server whose `Predict` answers with `answer`: bytes, or a function of the context."""

    def predict(request, context):
        return answer(context) if callable(answer) else answer

    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def predicted(**tensors):
    """Bytes of a `PredictResponse`; values are arrays or `TensorProto`."""
    message = predict_pb2.PredictResponse()
    for name, value in tensors.items():
        is_message = isinstance(value, tf.compat.v1.make_tensor_proto([0]).__class__)
        message.outputs[name].CopyFrom(value if is_message else tf.make_tensor_proto(value))
    return message.SerializeToString()


def proto(dtype, shape, **values):
    message = tf.make_tensor_proto([0.0])
    message.Clear()
    message.dtype = dtype
    for size in shape:
        message.tensor_shape.dim.add().size = size
    for name, value in values.items():
        field = getattr(message, name)
        field.extend(value) if isinstance(value, list) else setattr(message, name, value)
    return message


FLOAT, STRING, VARIANT, RESOURCE, QINT8 = 1, 7, 21, 20, 11
TENSORS = {
    "no output": (predicted(), "the server answered no output"),
    "empty": (b"", "the server answered no output"),
    "bytes": (b"\xff" * 50, "the server answered INTERNAL"),
    "rows": (predicted(embedding=np.zeros((2, 4), np.float32)), "answered 2 rows of embedding to 1 texts"),
    "truth": (predicted(embedding=np.array([[True]])), "answered True, which is no number"),
    "scalar": (predicted(embedding=np.float32(1)), "without a row for each text"),
    "nan": (predicted(embedding=np.array([[np.nan]])), "answered nan, which is no number"),
    "complex": (predicted(embedding=np.zeros((1, 2), np.complex64)), "values of type complex64"),
    "huge": (predicted(embedding=proto(FLOAT, [1, 10**12], float_val=[0.5])), "a tensor of shape [1, 1000000000000]"),
    "overflow": (predicted(embedding=proto(FLOAT, [2**62, 2**62], float_val=[0.5])), "a tensor of shape"),
    "negative": (predicted(embedding=proto(FLOAT, [1, -5], float_val=[0.5])), "a tensor of shape [1, -5]"),
    "short content": (predicted(embedding=proto(FLOAT, [1, 4], tensor_content=b"abc")), "is not a tensor"),
    "long content": (predicted(embedding=proto(FLOAT, [1, 1], tensor_content=b"abcd" * 9)), "is not a tensor"),
    "too many values": (predicted(embedding=proto(FLOAT, [1, 1], float_val=[0.5] * 9)), "is not a tensor"),
    "no type": (predicted(embedding=proto(0, [1])), "is not a tensor"),
    "type 9999": (predicted(embedding=proto(9999, [1])), "is not a tensor"),
    "resource": (predicted(embedding=proto(RESOURCE, [1])), "embedding"),
    "variant": (predicted(embedding=proto(VARIANT, [1])), "embedding"),
    "quantized": (predicted(embedding=proto(QINT8, [1], int_val=[5])), "values of type"),
    "strings": (predicted(embedding=proto(STRING, [1, 3], string_val=[b"a"] * 4)), "is not a tensor"),
}  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_an_odd_answer_over_grpc(name, capsys):
    content, words = TENSORS[name]
    with grpc_server(content) as address:
        message = refused(capsys, grpc_predict.main, "--address", address, "--text", "a")
    assert words in message and address in message and len(message) < LONGEST_MESSAGE


def test_good_tensors_of_other_types_are_printed(capsys):
    values = {
        "half": np.array([[0.5]], np.float16),
        "brain": tf.constant([[0.5]], tf.bfloat16).numpy(),
        "whole": np.array([[2**40]], np.int64),
        "text": np.array([["grün".encode()]], object),
        "bytes": np.array([[b"\xff"]], object),
        "nothing": np.zeros((1, 0, 5), np.float32),
        "repeated": proto(FLOAT, [1, 3], float_val=[0.5]),
    }
    with grpc_server(predicted(**values)) as address:
        run(grpc_predict.main, "--address", address, "--text", "a")
    assert json.loads(capsys.readouterr().out) == {
        "half": [0.5],
        "brain": [0.5],
        "whole": [2**40],
        "text": ["grün"],
        "bytes": [{"b64": "/w=="}],
        "nothing": [],
        "repeated": [0.5, 0.5, 0.5],
    }


def test_errors_of_a_grpc_server_are_one_line(capsys):
    details = "\n".join(["line"] * 2000) + "\x1b[31m"
    with grpc_server(lambda context: context.abort(grpc.StatusCode.DATA_LOSS, details[-4000:])) as address:
        message = refused(capsys, grpc_predict.main, "--address", address, "--text", "a")
    assert "the server answered DATA_LOSS: " in message and len(message) < LONGEST_MESSAGE
    with grpc_server(lambda context: time.sleep(3) or b"") as address:
        started = time.monotonic()
        message = refused(capsys, grpc_predict.main, "--address", address, "--text", "a", "--timeout", 1)
        assert time.monotonic() - started < 3 and "no answer in 1 s" in message


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(
    answers=plain | st.dictionaries(st.text(max_size=5), st.lists(plain, max_size=3), max_size=3),
    count=st.integers(1, 3),
)
@settings(max_examples=300)
def test_any_value_is_refused_or_printed(answers, count):
    try:
        client_output.check_answers("server", answers, count)
    except InputError as error:
        assert str(error).startswith("server: ") and "\n" not in str(error)
        return
    assert {len(values) for values in answers.values()} == {count}
    for row in range(count):
        text = json.dumps(
            {name: client_output.readable(values[row]) for name, values in answers.items()}, allow_nan=False
        )
        assert set(json.loads(text)) == set(answers)


def test_a_line_is_one_line_for_every_reader(capsys):
    """Python's `splitlines` and others end lines at characters that JSON does not escape."""
    texts = ["a\u2028b", "c\u2029d\x85e", "f\ng"]
    client_output.print_answers({"output": texts}, 3)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == [{"output": text} for text in texts]
