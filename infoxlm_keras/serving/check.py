"""Runs the signatures of a SavedModel as a server does, with tensorflow and tensorflow_text only.

    python check.py SAVED_MODEL REQUEST.json ANSWER.npz

REQUEST.json: signature -> input -> values; strings are bytes read as Latin-1, numbers are int32.
ANSWER.npz: the numeric outputs of those signatures, named `serving_default/embedding`, `tokens/embedding`, ...
This file runs as a script. `main` blocks imports of this package and of Keras.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  registers the SentencePiece ops


def main(directory: str, request_file: str, answer_file: str) -> None:
    """Answers the requests of `request_file` with the SavedModel in `directory`; writes `answer_file`."""
    # Imports of these fail from here on. tensorflow_text itself imports Keras if it is installed; the SavedModel
    # needs neither. An import of this file for its names blocks nothing.
    loaded = [name for name in sys.modules if name.split(".")[0] == "keras"]
    for name in [*loaded, "keras", "keras_hub", "infoxlm_keras"]:
        sys.modules[name] = None  # type: ignore[assignment]
    with open(request_file, encoding="utf-8") as file:
        requests = json.load(file)
    signatures = tf.saved_model.load(directory, tags=["serve"]).signatures
    answers = {
        name: signatures[name](**{key: tensor(values) for key, values in inputs.items()})
        for name, inputs in requests.items()
    }
    np.savez(
        answer_file,
        **{
            f"{signature}/{name}": output.numpy()
            for signature, outputs in answers.items()
            for name, output in outputs.items()
            if output.dtype != tf.string
        },
    )


def tensor(values: list[str] | list[int]) -> tf.Tensor:
    """One input of a request: strings as bytes, numbers as int32."""
    if values and isinstance(values[0], str):
        return tf.constant([value.encode("latin-1") for value in values], tf.string)
    return tf.constant(values, tf.int32)


if __name__ == "__main__":
    main(*sys.argv[1:])
