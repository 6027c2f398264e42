"""The files that TensorFlow Serving reads beside a model's versions: the model's name and the batching of requests."""

import os
import pathlib
import re

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_atomically

MODELS_FILE = "models.config"
BATCHING_FILE = "batching_parameters.txt"
CONTAINER_DIRECTORY = "/models"  # mount point of models in the server's container
MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]+")

MODELS = """\
# tensorflow_model_server --model_config_file={directory}/{name}/models.config
model_config_list {{
  config {{
    name: "{name}"
    base_path: "{directory}/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

# The model compiles nothing for a batch size, so allowed_batch_sizes is left out: padding a batch to one of them would
# only add work. The server pads token ids of different lengths, and the graph treats that as padding.
BATCHING = """\
# tensorflow_model_server --enable_batching --batching_parameters_file={directory}/{name}/batching_parameters.txt
max_batch_size { value: 64 }
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 2 }
pad_variable_length_inputs: true
"""


def write_server_files(output_dir: pathlib.Path, model_name: str) -> None:
    """Writes `models.config` and `batching_parameters.txt` to `output_dir`, unless they exist: a server's
    administrator may have changed them. If one cannot be written, the other is removed again.

    Args:
        output_dir: path, home of all versions of the model.
        model_name: str.

    Raises:
        InputError: if the name has other characters than letters, digits, `_`, `.` and `-`.
    """
    check_model_name(model_name)
    written = []
    try:
        for path, text in _missing(output_dir, model_name):
            write_atomically(path, text)
            written.append(path)
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _missing(output_dir, model_name):
    """(path, text) of the files that do not exist."""
    for file_name, template in ((MODELS_FILE, MODELS), (BATCHING_FILE, BATCHING)):
        path = output_dir / file_name
        if not os.path.lexists(path):
            text = template.replace("{{", "{").replace("}}", "}")
            yield path, text.replace("{directory}", CONTAINER_DIRECTORY).replace("{name}", model_name)


def check_model_name(model_name: str) -> None:
    """Raises InputError unless `model_name` can be part of a server's addresses."""
    if not MODEL_NAME.fullmatch(model_name) or set(model_name) == {"."}:
        raise InputError(
            f"model name {model_name!r}: must be letters, digits, '_', '.' and '-'; give another one (--model_name)"
        )
