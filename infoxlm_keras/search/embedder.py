"""Computes sentence vectors with an exported SavedModel: needs TensorFlow and tensorflow_text, but no Keras."""

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.serving.saved_model import REMEDY, load_saved_model, newest_version

FACTS_FILE = "assets.extra/infoxlm.json"


class SavedModelEmbedder:
    """Calls an embedding export: its signatures `query` and `document` if it has prompts, else `serving_default`.

    Args:
        directory: path of a version, or of the directory of all versions (uses the highest, as a server does).

    Attributes:
        directory: path of the version.
        facts: dict, the content of the export's `infoxlm.json`.
        dim: int.
        prompts: {"query": str, "document": str}, what these signatures put before a text; empty if there are none.

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
        self.prompts = self.facts.get("prompts", {})
        if not isinstance(self.prompts, dict) or not set(self.prompts) <= set(self._loaded.signatures):
            raise InputError(
                f"{path}: prompts = {self.prompts!r:.100}, which are not the signatures of this SavedModel; {REMEDY}"
            )

    def __call__(self, texts: list[bytes], side: str | None = None) -> Array:
        """Unit vectors of texts.

        Args:
            texts: list of bytes.
            side: "query" or "document", whose prompt is put before each text if the model has one; None: no prompt.

        Returns:
            float32 [texts, dim].
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        signature = self._loaded.signatures[side] if side in self.prompts else self._signature
        vectors = signature(text=tf.constant(texts, tf.string))["embedding"].numpy().astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(norms > 0, norms, 1)
