"""Exports the sentence encoder to LiteRT (TensorFlow Lite), for phones and other small devices.

DIR/model.tflite                                      the encoder, by Keras' own export
DIR/infoxlm.json                                      layer, pooling, dimensions, precision
DIR/tokenizer.json, sentencepiece.bpe.model, ...      the tokenizer
"""

import pathlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.encoder_export import EncoderExport, check_precision, encoder_vectors
from infoxlm_keras.exporting.to_huggingface import write_tokenizer
from infoxlm_keras.exporting.vector_check import TOLERANCE, Embed, largest_difference
from infoxlm_keras.files import MODEL_FOLDER, new_directory, without_wildcards, write_json
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.optional_library import import_library

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel

MODEL_FILE, FACTS_FILE = "model.tflite", "infoxlm.json"


def export_litert(
    model: "PretrainedModel",
    directory: PathLike,
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    dimensions: int | None = None,
    precision: str = "float32",
    replace: bool = False,
) -> EncoderExport:
    """Writes the sentence encoder of a model for LiteRT; the directory is written whole and checked, or not at all.

    The inputs `token_ids` and `padding_mask`, int32 [batch, length], may have any number of rows and any length up to
    the model's positions: `resize_tensor_input` sets them. The output is float32 [batch, dim].

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        directory: str or path to write.
        layer, pooling, normalize, max_length: the sentence vector, see `sentence_vector`.
        dimensions: int, only the first dimensions of the vector, scaled to unit length afterwards; None: all.
        precision: "float32"; or "int8": weights in int8, activations quantized as they come.
        replace: bool, overwrite an existing directory.

    Returns:
        `EncoderExport`.

    Raises:
        InputError: if a value is out of range, Keras runs on another backend than TensorFlow, or ai-edge-litert is not
            installed; nothing is written then.
        RuntimeError: if LiteRT's vectors differ from the Keras model's by more than 1e-5 (float32).

    Example:
    ```python
    export_litert(load_pretrained("runs/demo/model"), "exports/litert", precision="int8")
    ```
    """
    check_precision(precision)
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"KERAS_BACKEND = {keras.backend.backend()}: LiteRT files of any length are written under TensorFlow; set "
            "KERAS_BACKEND=tensorflow and load the preset again (presets open under every backend)"
        )
    _interpreter_module()
    vectors = encoder_vectors(model, layer, pooling, normalize, max_length, dimensions)
    encoder = vectors.keras_model()
    directory = pathlib.Path(directory)
    with new_directory(directory, replace, contents=MODEL_FOLDER) as temporary:
        check_room(temporary, encoder)
        with without_wildcards(temporary) as plain:
            encoder.export(f"{plain}/{MODEL_FILE}", format="litert", verbose=False, **_settings(precision))
        tolerance = TOLERANCE if precision == "float32" else None
        embed = litert_embedder(temporary / MODEL_FILE)
        difference = largest_difference(vectors, embed, str(directory / MODEL_FILE), tolerance)
        facts = {**vectors.facts(), "precision": precision}
        write_json(temporary / FACTS_FILE, facts)
        write_tokenizer(temporary, model.tokenizer, vectors.vector.max_length)
    return EncoderExport(directory, vectors, facts, (directory / MODEL_FILE).stat().st_size, difference)


def litert_embedder(path: PathLike, threads: int | None = None) -> Embed:
    """The vectors of an exported LiteRT file, by the LiteRT interpreter on the CPU.

    Args:
        path: str or path of the file.
        threads: int; None: the interpreter's own choice.

    Returns:
        function of (token_ids, padding_mask), int32 [batch, length] each, to float32 [batch, dim].

    Raises:
        InputError: if ai-edge-litert is not installed.
    """
    interpreter = _interpreter_module().Interpreter(model_content=pathlib.Path(path).read_bytes(), num_threads=threads)
    places = {
        name: detail["index"]
        for detail in interpreter.get_input_details()
        for name in ("token_ids", "padding_mask")
        if name in detail["name"]
    }
    [output] = interpreter.get_output_details()

    def embed(token_ids: Array, padding_mask: Array) -> Array:
        inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
        for place in places.values():
            interpreter.resize_tensor_input(place, token_ids.shape)
        interpreter.allocate_tensors()
        for name, place in places.items():
            interpreter.set_tensor(place, inputs[name].astype(np.int32))
        interpreter.invoke()
        return interpreter.get_tensor(output["index"])

    return embed


def _settings(precision: str) -> dict[str, Any]:
    """Settings of TensorFlow's converter."""
    import tensorflow as tf

    # Operators of LiteRT alone: others would need a runtime with parts of TensorFlow.
    settings: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if precision == "int8":
        settings["optimizations"] = [tf.lite.Optimize.DEFAULT]
    return settings


def _interpreter_module():
    return import_library("ai_edge_litert.interpreter", "the check of the LiteRT file", "litert")
