"""Answers requests from a SavedModel as a server would, with tensorflow and tensorflow_text only.

    python check.py SAVED_MODEL REQUEST.json ANSWER.npz

REQUEST.json: {"text": [bytes read as Latin-1, ...], "token_ids": [[...], ...], "padding_mask": [[...], ...]}.
ANSWER.npz: the numeric outputs of both signatures, named `serving_default/embedding`, `tokens/embedding`, ...
This file is run by itself, never imported: neither this package nor Keras can be imported while it answers.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.modules["infoxlm_keras"] = sys.modules["keras_hub"] = None

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import tensorflow_text  # noqa: E402, F401  registers the SentencePiece ops


def main(directory, request_file, answer_file):
    # tensorflow_text itself imports Keras when there is one; the SavedModel must not.
    for name in [name for name in sys.modules if name.split(".")[0] == "keras"]:
        sys.modules[name] = None
    with open(request_file, encoding="utf-8") as file:
        request = json.load(file)
    signatures = tf.saved_model.load(directory, tags=["serve"]).signatures
    answers = {
        "serving_default": signatures["serving_default"](
            text=tf.constant([text.encode("latin-1") for text in request["text"]], tf.string)
        ),
        "tokens": signatures["tokens"](
            token_ids=tf.constant(request["token_ids"], tf.int32),
            padding_mask=tf.constant(request["padding_mask"], tf.int32),
        ),
    }
    np.savez(
        answer_file,
        **{
            f"{signature}/{name}": tensor.numpy()
            for signature, outputs in answers.items()
            for name, tensor in outputs.items()
            if tensor.dtype != tf.string
        },
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
