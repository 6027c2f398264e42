"""Sends texts to TensorFlow Serving over REST and prints one JSON line for each text.

    python recipes/clients/rest.py --model infoxlm --text "Open the file" --text "Öffnen Sie die Datei"
    python recipes/clients/rest.py --model infoxlm --task similarity --text "$(printf 'Open the file\tDatei öffnen')"
    python recipes/clients/rest.py --model xnli --task pairs --file premises_and_hypotheses.tsv
    python recipes/clients/rest.py --model qa --task qa --file questions.tsv > answers.jsonl

Needs requests: pip install infoxlm_keras[serving]. Any bytes can be sent; they are encoded in base64.
"""

import base64
import json
import re
import sys
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from bounded import bounded
from client_input import batches, check_request, columns, parser, read_rows, signature_name
from client_output import MOST_ANSWER_BYTES, brief, check_answers, print_answers

from infoxlm_keras.command_line import run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe, parsing
from infoxlm_keras.files.text_and_json import load_json

BLOCK_BYTES = 1 << 16
OK = 200
ADDRESS = re.compile(r"https?://[^/]", re.IGNORECASE)
UNNAMED_OUTPUT = "output"


def main(arguments: Sequence[str] | None = None) -> None:
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
        timeout: float, seconds that a call of `predict` may take in all.

    Raises:
        InputError: if requests is not installed, or an argument is out of range.
    """

    def __init__(self, address: str, model: str, version: int | None = None, timeout: float = 30.0) -> None:
        check_request(address, model, version, timeout)
        if not ADDRESS.match(address):
            raise InputError(f"--address {address}: must be http:// or https:// and a host")
        try:
            import requests
        except ImportError:
            raise InputError("requests is not installed: pip install infoxlm_keras[serving]") from None
        self._requests = requests
        self._session = requests.Session()
        self._names: dict[str, str] = {}
        of_version = "" if version is None else f"/versions/{version}"
        self._model_url = f"{address.rstrip('/')}/v1/models/{urllib.parse.quote(model, safe='')}{of_version}"
        self.url = f"{self._model_url}:predict"
        self.timeout = timeout

    def predict(self, signature: str, inputs: Mapping[str, Sequence[bytes]]) -> dict[str, list[Any]]:
        """The outputs of a signature.

        Args:
            signature: str.
            inputs: dict of input name to a list of bytes.

        Returns:
            dict of output name to a list of plain values, one a text.

        Raises:
            InputError: if the server cannot be reached, refuses the request, takes longer than `timeout`, or its
                answer is not one of TensorFlow Serving for the number of texts.
        """
        deadline = time.monotonic() + self.timeout
        encoded = {
            name: [{"b64": base64.b64encode(text).decode()} for text in texts] for name, texts in inputs.items()
        }
        content = self._json("POST", self.url, deadline, {"signature_name": signature, "inputs": encoded})
        if "outputs" not in content:
            raise InputError(f"{self.url}: the answer is not TensorFlow Serving's; is this its REST port?")
        outputs, count = content["outputs"], len(next(iter(inputs.values())))
        if isinstance(outputs, dict):
            check_answers(self.url, outputs, count)
            return outputs
        # A single output comes without its name.
        check_answers(self.url, {UNNAMED_OUTPUT: outputs}, count)
        return {self._name_of_output(signature, deadline): outputs}

    def _name_of_output(self, signature, deadline):
        """The only output of a signature, by the model's metadata."""
        if signature not in self._names:
            url = f"{self._model_url}/metadata"
            try:
                content = self._json("GET", url, deadline)
                [name] = content["metadata"]["signature_def"]["signature_def"][signature]["outputs"]
            except (InputError, LookupError, TypeError, ValueError) as error:
                name = UNNAMED_OUTPUT
                reason = str(error) if isinstance(error, InputError) else f"{url}: names no single output"
                print(f"note: the answers are printed as {name!r}: {reason}", file=sys.stderr)
            self._names[signature] = name
        return self._names[signature]

    def _json(self, method, url, deadline, body=None):
        """The JSON object in the answer to a request."""
        try:
            status, reason, location, content = bounded(deadline - time.monotonic(), self._ask, method, url, body)
        except (TimeoutError, self._requests.exceptions.Timeout):
            self._session = self._requests.Session()  # the old one may still be in use
            raise InputError(
                f"{url}: no whole answer in {self.timeout:g} s; is the server busy? (--timeout)"
            ) from None
        if location is not None:
            raise InputError(f"{url}: the server sends on to {brief(location)}; is --address right?")
        if status != OK:
            raise InputError(
                f"{url}: the server answered {status}: {brief(_reason(content) or reason or 'no reason')}"
            )

        def refuse(constant):
            raise InputError(f"{url}: the server answered {constant}, which is no number; is the model in order?")

        with parsing(url, "an answer of TensorFlow Serving", "is this its REST port?"):
            value = load_json(content, parse_constant=refuse)
        if not isinstance(value, dict):
            raise InputError(f"{url}: the answer is not TensorFlow Serving's; is this its REST port?")
        return value

    def _ask(self, method, url, body):
        """(status, reason, target of a redirection or None, content) of the answer."""
        exceptions = self._requests.exceptions
        content = bytearray()
        try:
            with self._session.request(
                method, url, json=body, timeout=self.timeout, stream=True, allow_redirects=False
            ) as response:
                for block in response.iter_content(BLOCK_BYTES):
                    content += block
                    if len(content) > MOST_ANSWER_BYTES:
                        raise InputError(
                            f"{url}: the answer is longer than {MOST_ANSWER_BYTES:,} bytes; give fewer texts a "
                            "request (--batch_size)"
                        )
                location = response.headers.get("location") if response.is_redirect else None
                return response.status_code, response.reason, location, bytes(content)
        except (InputError, exceptions.Timeout):
            raise
        except (exceptions.ChunkedEncodingError, exceptions.ContentDecodingError) as error:
            raise InputError(f"{url}: the answer breaks off or is damaged ({type(error).__name__})") from None
        except exceptions.ConnectionError as error:
            # Reading the body raises a ConnectionError for a time-out too.
            if "timed out" in str(error).lower():
                raise exceptions.Timeout from None
            raise InputError(
                f"{url}: cannot be reached or does not speak HTTP ({type(error).__name__}); is the server up, and is "
                "this its REST port?"
            ) from None
        except Exception as error:  # from the address or from a proxy in the environment
            raise InputError(f"{url}: cannot be asked ({type(error).__name__}: {brief(describe(error))})") from None


def _reason(content):
    """The message in the body of a refusal; None if it holds none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return value.get("error") if isinstance(value, dict) else None


if __name__ == "__main__":
    sys.exit(run_command(main))
