"""Exports the sentence encoder to ONNX, in a folder that ONNX Runtime's users and sentence-transformers know.

DIR/onnx/model.onnx                                   the graph, see `onnx_encoder`
DIR/onnx/infoxlm.json                                 layer, pooling, dimensions, precision
DIR/openvino/openvino_model.xml, .bin                 on demand, see to_openvino.py
DIR/tokenizer.json, sentencepiece.bpe.model, ...      the tokenizer
DIR/modules.json, config.json, ...                    for `SentenceTransformer(DIR, backend="onnx")`
"""

import logging
import math
import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.conversion.huggingface_config import huggingface_config
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting import to_openvino
from infoxlm_keras.exporting.encoder_export import EncoderExport, check_precision, encoder_vectors
from infoxlm_keras.exporting.onnx_encoder import ATTENTION_MASK, INPUT_IDS, SENTENCE_EMBEDDING, onnx_encoder
from infoxlm_keras.exporting.to_huggingface import ENCODER, write_tokenizer
from infoxlm_keras.exporting.to_sentence_transformers import write_modules
from infoxlm_keras.exporting.vector_check import TOLERANCE, Embed, largest_difference
from infoxlm_keras.files import MODEL_FOLDER, new_directory, write_json
from infoxlm_keras.files.disk_room import check_sizes
from infoxlm_keras.optional_library import import_library

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel

MODEL_FILE, FACTS_FILE = "onnx/model.onnx", "onnx/infoxlm.json"
# A file of Protocol Buffers holds two gigabytes. Above this, weights are in a file of their own.
MOST_BYTES_INSIDE = 1_900_000_000


def export_onnx(
    model: "PretrainedModel",
    directory: PathLike,
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    dimensions: int | None = None,
    precision: str = "float32",
    replace: bool = False,
    openvino: bool = False,
) -> EncoderExport:
    """Writes the sentence encoder of a model as ONNX; the directory is written whole and checked, or not at all.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        directory: str or path to write.
        layer, pooling, normalize, max_length: the sentence vector, see `sentence_vector`.
        dimensions: int, only the first dimensions of the vector, scaled to unit length afterwards; None: all.
        precision: "float32"; or "int8": weights in int8, products in int8 with activations quantized as they come.
        replace: bool, overwrite an existing directory.
        openvino: bool, write OpenVINO's own form as well, of float32 only.

    Returns:
        `EncoderExport`.

    Raises:
        InputError: if a value is out of range, or onnx, onnxruntime or, with `openvino`, openvino is not installed;
            nothing is written then.
        RuntimeError: if ONNX Runtime's or OpenVINO's vectors differ from the Keras model's by more than 1e-5
            (float32).

    Example:
    ```python
    export_onnx(load_pretrained("runs/demo/model"), "exports/onnx", precision="int8")
    ```
    """
    check_precision(precision)
    import_library("onnxruntime", "the check of the ONNX file", "onnx")
    if openvino:
        if precision != "float32":
            raise InputError(f"--openvino: is written in float32; leave out --precision {precision}")
        import_library("openvino", "--openvino", "openvino")
    vectors = encoder_vectors(model, layer, pooling, normalize, max_length, dimensions)
    graph = onnx_encoder(model.backbone, vectors.vector, vectors.dim, int8_table=precision == "int8")
    directory = pathlib.Path(directory)
    with new_directory(directory, replace, contents=MODEL_FOLDER) as temporary:
        path = temporary / MODEL_FILE
        path.parent.mkdir()
        check_sizes(temporary, [weight_bytes(graph)])
        if precision == "int8":
            with tempfile.TemporaryDirectory(dir=temporary) as scratch:
                save(graph, pathlib.Path(scratch, "float32.onnx"))
                quantize(pathlib.Path(scratch, "float32.onnx"), path)
        else:
            save(graph, path)
        tolerance = TOLERANCE if precision == "float32" else None
        difference = largest_difference(vectors, onnx_embedder(path), str(directory / MODEL_FILE), tolerance)
        if openvino:
            written = temporary / to_openvino.MODEL_FILE
            to_openvino.write_openvino(path, written)
            embed, name = to_openvino.openvino_embedder(written), str(directory / to_openvino.MODEL_FILE)
            difference = max(difference, largest_difference(vectors, embed, name, tolerance))
        facts = {**vectors.facts(), "precision": precision}
        write_json(temporary / FACTS_FILE, facts)
        write_tokenizer(temporary, model.tokenizer, vectors.vector.max_length)
        config = huggingface_config(model.backbone, ENCODER, "float32", vectors.vector.layer)
        write_json(temporary / "config.json", config)
        write_modules(temporary, model, vectors.vector)
    size = sum(path.stat().st_size for path in (directory / MODEL_FILE).parent.glob("model.onnx*"))
    return EncoderExport(directory, vectors, facts, size, difference)


def save(graph: Any, path: pathlib.Path) -> None:
    """Writes an `onnx.ModelProto`, with its weights in `path`_data if they do not fit into one file."""
    onnx = import_library("onnx", "an export to ONNX", "onnx")
    apart = weight_bytes(graph) > MOST_BYTES_INSIDE
    onnx.save(graph, str(path), save_as_external_data=apart, location=f"{path.name}_data")


def weight_bytes(graph: Any) -> int:
    """Bytes of the constants of an `onnx.ModelProto`; its own `ByteSize` fails above two gigabytes."""
    onnx = import_library("onnx", "an export to ONNX", "onnx")
    return sum(
        math.prod(constant.dims) * onnx.helper.tensor_dtype_to_np_dtype(constant.data_type).itemsize
        for constant in graph.graph.initializer
    )


def quantize(source: pathlib.Path, target: pathlib.Path) -> None:
    """Writes the ONNX file `source` with the weights of its products in int8, a scale for each output."""
    quantization = import_library("onnxruntime.quantization", "--precision int8", "onnx")
    logger = logging.getLogger()
    level = logger.level
    # It recommends to infer shapes first, which dynamic quantization of products does not use.
    logger.setLevel(logging.ERROR)
    try:
        quantization.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            # Seven bits: processors without VNNI add pairs of products in 16 bits, which eight bits overflow.
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logger.setLevel(level)


def onnx_embedder(path: PathLike, threads: int = 0) -> Embed:
    """The vectors of an exported ONNX file, by ONNX Runtime on the CPU.

    Args:
        path: str or path of the file.
        threads: int; 0: as many as there are cores.

    Returns:
        function of (token_ids, padding_mask), int [batch, length] each, to float32 [batch, dim].

    Raises:
        InputError: if onnxruntime is not installed.
    """
    runtime = import_library("onnxruntime", "an ONNX file", "onnx")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def embed(token_ids: Array, padding_mask: Array) -> Array:
        inputs = {INPUT_IDS: token_ids.astype(np.int64), ATTENTION_MASK: padding_mask.astype(np.int64)}
        return session.run([SENTENCE_EMBEDDING], inputs)[0]

    return embed
