"""Computes sentence vectors with an exported SavedModel: needs TensorFlow and tensorflow_text, but no Keras."""

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.serving.saved_model import load_saved_model, newest_version

FACTS_FILE = "assets.extra/infoxlm.json"


class SavedModelEmbedder:
    """Calls `serving_default` of an embedding export.

    Args:
        directory: path of a version, or of the directory of all versions (uses the highest, as a server does).

    Attributes:
        directory: path of the version.
        facts: dict, the content of the export's `infoxlm.json`.
        dim: int.

    Raises:
        InputError: if there is no SavedModel, it is damaged, it is no embedding, or its vectors are bits.
    """

    def __init__(self, directory: PathLike) -> None:
        self.directory = newest_version(directory).absolute()
        self._loaded = load_saved_model(self.directory)
        self._signature = self._loaded.signatures.get("serving_default")
        outputs = {} if self._signature is None else self._signature.structured_outputs
        if "embedding" not in outputs:
            found = ", ".join(outputs) or "nothing for strings"
            raise InputError(f"{self.directory}: has the outputs {found}, not embedding; export the embedding head")
        if outputs["embedding"].dtype == tf.uint8:
            raise InputError(
                f"{self.directory}: returns vectors of bits, which this index does not compare; export the model with "
                "--vectors int8 or float32"
            )
        self.dim = outputs["embedding"].shape[-1]
        path = self.directory / FACTS_FILE
        self.facts = read_json(path, dict) if path.exists() else {}

    def __call__(self, texts: list[bytes]) -> Array:
        """`texts` (list of bytes) to unit vectors, float32 [texts, dim]."""
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        vectors = self._signature(text=tf.constant(texts, tf.string))["embedding"].numpy().astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms > 0, norms, 1)
