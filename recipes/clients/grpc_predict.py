"""Sends texts to TensorFlow Serving over gRPC and prints one JSON line for each text.

    python recipes/clients/grpc_predict.py --model infoxlm --text "Open the file" --text "Öffnen Sie die Datei"
    python recipes/clients/grpc_predict.py --model infoxlm --task similarity --file pairs.tsv > similarity.jsonl
    python recipes/clients/grpc_predict.py --model xnli --task pairs --file premises_and_hypotheses.tsv

Needs tensorflow-serving-api: pip install infoxlm_keras[serving].
"""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from client_input import batches, check_request, columns, parser, read_rows, signature_name
from client_output import MOST_ANSWER_BYTES, brief, check_answers, print_answers

from infoxlm_keras.command_line import quiet_imports, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe, parsing

if TYPE_CHECKING:
    from infoxlm_keras.annotations import Array

# A value takes at least 4 bytes. The limit is needed because a tensor's memory is allocated by its shape.
MOST_VALUES = MOST_ANSWER_BYTES // 4


def main(arguments: Sequence[str] | None = None) -> None:
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
        timeout: float, seconds that a call of `predict` may take in all.

    Raises:
        InputError: if tensorflow-serving-api is not installed, or an argument is out of range.
    """

    def __init__(self, address: str, model: str, version: int | None = None, timeout: float = 30.0) -> None:
        check_request(address, model, version, timeout)
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            with quiet_imports():
                import grpc
                import tensorflow as tf
                from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError:
            raise InputError("tensorflow-serving-api is not installed: pip install infoxlm_keras[serving]") from None
        self._grpc, self._tf, self._messages = grpc, tf, predict_pb2
        # A batch of vectors may be larger than gRPC's usual limit of 4 MB.
        channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", MOST_ANSWER_BYTES)])
        self._service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.address, self.model, self.version, self.timeout = address, model, version, timeout

    def predict(self, signature: str, inputs: Mapping[str, Sequence[bytes]]) -> "dict[str, Array]":
        """The outputs of a signature.

        Args:
            signature: str.
            inputs: dict of input name to a list of bytes.

        Returns:
            dict of output name to a NumPy array of numbers, bool or bytes, batch first.

        Raises:
            InputError: if the server cannot be reached, refuses the request, takes longer than `timeout`, or its
                answer does not fit the number of texts.
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
        except ValueError as error:  # a message above two gigabytes
            raise InputError(
                f"{self.address}: the request cannot be sent ({describe(error)}); give fewer texts a request "
                "(--batch_size)"
            ) from None
        outputs = {name: self._array(name, tensor) for name, tensor in response.outputs.items()}
        plain = {name: values.tolist() for name, values in outputs.items()}
        check_answers(self.address, plain, len(next(iter(inputs.values()))))
        return outputs

    def _array(self, name, tensor):
        """A `TensorProto` as a NumPy array of printable values."""
        place = f"{self.address}: {brief(name)}"
        sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or min(sizes, default=0) < 0 or math.prod(sizes) > MOST_VALUES:
            raise InputError(f"{place}: the server answered a tensor of shape {sizes[:10]}; is it this model?")
        with parsing(place, "a tensor", "is it this model?"):
            values = self._tf.make_ndarray(tensor)
        if values.dtype.name == "bfloat16":  # not a number type of NumPy itself
            values = values.astype("float32")
        if values.dtype.kind not in "biufO":
            raise InputError(f"{place}: the server answered values of type {values.dtype}; is it this model?")
        return values

    def _explain(self, error):
        code = error.code()
        if code == self._grpc.StatusCode.UNAVAILABLE:
            return f"{self.address}: cannot be reached; is the server up, and is this its gRPC port?"
        if code == self._grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"{self.address}: no answer in {self.timeout:g} s; is the server busy? (--timeout)"
        return f"{self.address}: the server answered {code.name}: {brief(error.details() or 'no reason')}"


if __name__ == "__main__":
    sys.exit(run_command(main))
