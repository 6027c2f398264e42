"""Texts to vectors by an exported SavedModel: TensorFlow and tensorflow_text, no Keras."""

import json
import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the SentencePiece ops

from infoxlm_keras.errors import InputError

FACTS_FILE = "assets.extra/infoxlm.json"


class SavedModelEmbedder:
    """Calls `serving_default` of an embedding export.

    Args:
        directory: path of a version, or of the home of versions (the highest is taken, as a server does).

    Attributes:
        directory: path of the version.
        facts: dict, what the export says of itself.
        dim: int.

    Raises:
        InputError: if there is no SavedModel, or it is no embedding.
    """

    def __init__(self, directory):
        self.directory = newest_version(directory).absolute()
        try:
            self._loaded = tf.saved_model.load(str(self.directory), tags=["serve"])
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{self.directory}: cannot be opened as a SavedModel ({reason})") from None
        self._signature = self._loaded.signatures.get("serving_default")
        outputs = {} if self._signature is None else self._signature.structured_outputs
        if "embedding" not in outputs:
            raise InputError(
                f"{self.directory}: gives {', '.join(outputs) or 'nothing'}, not embedding; export the embedding head"
            )
        self.dim = outputs["embedding"].shape[-1]
        path = self.directory / FACTS_FILE
        self.facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def __call__(self, texts):
        """`texts` (list of bytes) to unit vectors, float32 [texts, dim]."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors = self._signature(text=tf.constant(texts, tf.string))["embedding"].numpy()
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms > 0, norms, 1)


def newest_version(directory):
    """`directory` itself if it holds a SavedModel, else its highest version.

    Raises:
        InputError: if neither is there.
    """
    directory = pathlib.Path(directory)
    if (directory / "saved_model.pb").is_file():
        return directory
    versions = [path for path in directory.glob("*/saved_model.pb") if path.parent.name.isdecimal()]
    if not versions:
        raise InputError(f"{directory}: holds no SavedModel; make one with recipes/export_savedmodel.py")
    return max(versions, key=lambda path: int(path.parent.name)).parent
