"""The exported ONNX file in OpenVINO's own form, which `SentenceTransformer(DIR, backend="openvino")` opens.

DIR/openvino/openvino_model.xml, openvino_model.bin     the same graph, with weights in float32

On CPUs that have it, OpenVINO computes in bfloat16 unless it is told `INFERENCE_PRECISION_HINT` = f32.
"""

import pathlib

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.exporting.onnx_encoder import ATTENTION_MASK, INPUT_IDS, SENTENCE_EMBEDDING
from infoxlm_keras.exporting.vector_check import Embed
from infoxlm_keras.files import without_wildcards
from infoxlm_keras.optional_library import import_library

MODEL_FILE = "openvino/openvino_model.xml"


def write_openvino(onnx_file: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the ONNX file `onnx_file` as `target` (.xml) and, beside it, its weights (.bin).

    Raises:
        InputError: if openvino is not installed.
    """
    openvino = import_library("openvino", "--openvino", "openvino")
    target.parent.mkdir(exist_ok=True)
    with without_wildcards(onnx_file.parent) as source, without_wildcards(target.parent) as folder:
        model = openvino.convert_model(f"{source}/{onnx_file.name}")
        openvino.save_model(model, f"{folder}/{target.name}", compress_to_fp16=False)


def openvino_embedder(path: PathLike, threads: int = 0) -> Embed:
    """The vectors of an exported file, by OpenVINO on the CPU, in float32.

    Args:
        path: str or path of the file.
        threads: int; 0: OpenVINO's own choice.

    Returns:
        function of (token_ids, padding_mask), int [batch, length] each, to float32 [batch, dim].

    Raises:
        InputError: if openvino is not installed.
    """
    openvino = import_library("openvino", "an OpenVINO file", "openvino")
    path = pathlib.Path(path)
    settings = {"INFERENCE_PRECISION_HINT": "f32", **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
    with without_wildcards(path.parent) as folder:
        compiled = openvino.Core().compile_model(f"{folder}/{path.name}", "CPU", settings)

    def embed(token_ids: Array, padding_mask: Array) -> Array:
        inputs = {INPUT_IDS: token_ids.astype(np.int64), ATTENTION_MASK: padding_mask.astype(np.int64)}
        return compiled(inputs)[SENTENCE_EMBEDDING]

    return embed
