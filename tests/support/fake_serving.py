"""TensorFlow Serving's two interfaces, small: real messages in and out, a SavedModel behind them."""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Model:
    """A SavedModel under a name, as a server holds it."""

    def __init__(self, directory, name):
        self.name, self.version, self.directory = name, int(directory.name), directory
        self.rename = {}  # strings of answers to be replaced by others
        self.signatures = tf.saved_model.load(str(directory), tags=["serve"]).signatures

    def run(self, signature, inputs):
        """Output name -> NumPy array; `inputs` are NumPy arrays or lists."""
        signature = self.signatures[signature]
        specification = signature.structured_input_signature[1]
        tensors = {name: tf.constant(value, specification[name].dtype) for name, value in inputs.items()}
        return {name: self._renamed(value.numpy()) for name, value in signature(**tensors).items()}

    def _renamed(self, values):
        if values.dtype != object:
            return values
        renamed = [self.rename.get(value, value) for value in values.ravel()]
        return np.array(renamed, object).reshape(values.shape)


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`PredictionService` with `Predict` only."""

    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):
        name = request.model_spec.name
        if name != self.model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")
        try:
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self.model.run(request.model_spec.signature_name or "serving_default", inputs)
        except (KeyError, tf.errors.OpError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = predict_pb2.PredictResponse(model_spec=request.model_spec)
        response.model_spec.version.value = self.model.version
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


@contextlib.contextmanager
def grpc_server(model):
    """Yields `HOST:PORT` of a gRPC server of `model`."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def rest_server(model):
    """Yields `http://HOST:PORT` of a REST server of `model`: column format, lone outputs without a name, metadata."""
    versions = ("", f"/versions/{model.version}")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path not in [f"/v1/models/{model.name}{version}/metadata" for version in versions]:
                return self.answer(404, {"error": f"Servable not found for request: Latest({self.path})"})
            signatures = {
                name: {"outputs": {output: {"dtype": "DT_FLOAT"} for output in signature.structured_outputs}}
                for name, signature in model.signatures.items()
            }
            return self.answer(200, {"metadata": {"signature_def": {"signature_def": signatures}}})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path not in [f"/v1/models/{model.name}{version}:predict" for version in versions]:
                return self.answer(404, {"error": f"Servable not found for request: Latest({self.path})"})
            inputs = {
                name: [base64.b64decode(value["b64"]) for value in values] for name, values in body["inputs"].items()
            }
            try:
                outputs = model.run(body["signature_name"], inputs)
            except (KeyError, tf.errors.OpError) as error:
                return self.answer(400, {"error": str(error)})
            plain = {name: plain_values(value.tolist()) for name, value in outputs.items()}
            return self.answer(200, {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))})

        def answer(self, status, content):
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Says nothing: tests read what commands print."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def plain_values(value):
    if isinstance(value, list):
        return [plain_values(item) for item in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
