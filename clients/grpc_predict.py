"""Asks a TensorFlow Serving over gRPC: one JSON line of answers for each text.

    python clients/grpc_predict.py --model infoxlm --text "Open the file" --text "Öffnen Sie die Datei"
    python clients/grpc_predict.py --model infoxlm --task similarity --file pairs.tsv > similarity.jsonl

Needs tensorflow-serving-api: pip install infoxlm_keras[serving].
"""

import sys

from client_input import batches, columns, parser, print_answers, read_rows, signature_name

from infoxlm_keras.command_line import quiet_imports, run_command
from infoxlm_keras.errors import InputError


def main(arguments=None):
    options = parser(__doc__, "localhost:8500", "of the gRPC port, HOST:PORT").parse_args(arguments)
    client = GrpcClient(options.address, options.model, options.model_version, options.timeout)
    for batch in batches(read_rows(options), options.batch_size):
        answers = client.predict(signature_name(options.task), columns(batch, options.task))
        print_answers({name: values.tolist() for name, values in answers.items()}, len(batch))


class GrpcClient:
    """A model at a TensorFlow Serving, by `PredictionService.Predict`.

    Args:
        address: str, `HOST:PORT`.
        model: str, its name at the server.
        version: int; None: the newest.
        timeout: float, seconds.

    Raises:
        InputError: if tensorflow-serving-api is not installed.
    """

    def __init__(self, address, model, version=None, timeout=30.0):
        try:
            with quiet_imports():
                import grpc
                import tensorflow as tf
                from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError:
            raise InputError("tensorflow-serving-api is not installed: pip install infoxlm_keras[serving]") from None
        self._grpc, self._tf, self._messages = grpc, tf, predict_pb2
        # A batch of vectors may be larger than gRPC's usual limit of 4 MB.
        channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.address, self.model, self.version, self.timeout = address, model, version, timeout

    def predict(self, signature, inputs):
        """The outputs of a signature.

        Args:
            signature: str.
            inputs: dict of input name to a list of bytes.

        Returns:
            dict of output name to a NumPy array, batch first.

        Raises:
            InputError: if the server cannot be reached or refuses the request.
        """
        request = self._messages.PredictRequest()
        request.model_spec.name = self.model
        request.model_spec.signature_name = signature
        if self.version is not None:
            request.model_spec.version.value = self.version
        for name, texts in inputs.items():
            request.inputs[name].CopyFrom(self._tf.make_tensor_proto(texts, self._tf.string))
        try:
            response = self._service.Predict(request, timeout=self.timeout)
        except self._grpc.RpcError as error:
            raise InputError(self._explain(error)) from None
        return {name: self._tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def _explain(self, error):
        code = error.code()
        if code == self._grpc.StatusCode.UNAVAILABLE:
            return f"{self.address}: cannot be reached; is the server up, and is this its gRPC port?"
        if code == self._grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{self.address}: no answer in {self.timeout:g} s; is the server busy? (--timeout)"
        details = " ".join((error.details() or "").split())
        return f"{self.address}: the server answered {code.name}: {details}"


if __name__ == "__main__":
    sys.exit(run_command(main))
