"""Asks a TensorFlow Serving over REST: one JSON line of answers for each text.

    python clients/rest.py --model infoxlm --text "Open the file" --text "Öffnen Sie die Datei"
    python clients/rest.py --model infoxlm --task similarity --text "$(printf 'Open the file\tDatei öffnen')"
    python clients/rest.py --model qa --task qa --file questions.tsv > answers.jsonl

Needs requests: pip install infoxlm_keras[serving]. Any bytes can be sent: they travel in base64.
"""

import base64
import sys

from client_input import batches, columns, parser, print_answers, read_rows, signature_name

from infoxlm_keras.command_line import run_command
from infoxlm_keras.errors import InputError


def main(arguments=None):
    options = parser(__doc__, "http://localhost:8501", "of the REST port").parse_args(arguments)
    client = RestClient(options.address, options.model, options.model_version, options.timeout)
    for batch in batches(read_rows(options), options.batch_size):
        answers = client.predict(signature_name(options.task), columns(batch, options.task))
        print_answers(answers, len(batch))


class RestClient:
    """A model at a TensorFlow Serving, by `POST /v1/models/MODEL[/versions/N]:predict`.

    Args:
        address: str, `http://HOST:PORT`.
        model: str, its name at the server.
        version: int; None: the newest.
        timeout: float, seconds.

    Raises:
        InputError: if requests is not installed.
    """

    def __init__(self, address, model, version=None, timeout=30.0):
        try:
            import requests
        except ImportError:
            raise InputError("requests is not installed: pip install infoxlm_keras[serving]") from None
        self._requests = requests
        self._session = requests.Session()
        of_version = "" if version is None else f"/versions/{version}"
        self.url = f"{address.rstrip('/')}/v1/models/{model}{of_version}:predict"
        self.timeout = timeout

    def predict(self, signature, inputs):
        """The outputs of a signature.

        Args:
            signature: str.
            inputs: dict of input name to a list of bytes.

        Returns:
            dict of output name to a list of plain values, one a text.

        Raises:
            InputError: if the server cannot be reached, refuses the request, or answers no JSON.
        """
        encoded = {
            name: [{"b64": base64.b64encode(text).decode()} for text in texts] for name, texts in inputs.items()
        }
        try:
            response = self._session.post(
                self.url, json={"signature_name": signature, "inputs": encoded}, timeout=self.timeout
            )
        except self._requests.exceptions.Timeout:
            raise InputError(f"{self.url}: no answer in {self.timeout:g} s; is the server busy? (--timeout)") from None
        except self._requests.exceptions.RequestException as error:
            raise InputError(f"{self.url}: cannot be reached ({type(error).__name__}); is the server up?") from None
        try:
            content = response.json()
        except ValueError:
            content = None
        if not response.ok:
            reason = content.get("error", response.reason) if isinstance(content, dict) else response.reason
            raise InputError(f"{self.url}: the server answered {response.status_code}: {reason}")
        if not isinstance(content, dict) or "outputs" not in content:
            raise InputError(f"{self.url}: the answer is not TensorFlow Serving's; is this its REST port?")
        outputs = content["outputs"]
        if not isinstance(outputs, dict):  # a single output comes without its name
            outputs = {"output": outputs}
        return outputs


if __name__ == "__main__":
    sys.exit(run_command(main))
