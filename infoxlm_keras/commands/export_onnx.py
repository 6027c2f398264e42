"""Exports the sentence encoder to ONNX, for ONNX Runtime, OpenVINO and sentence-transformers.

    infoxlm export-onnx --model runs/demo/model --output_dir runs/demo/onnx
    infoxlm export-onnx --model runs/demo/model --output_dir runs/demo/onnx_int8 --precision int8 --pairs heldout/

writes DIR/onnx/model.onnx with the inputs input_ids and attention_mask, int64 [batch, length], and the outputs
sentence_embedding float32 [batch, D] and last_hidden_state float32 [batch, length, width]. The tokenizer's files lie
beside it, and those that SentenceTransformer(DIR, backend="onnx") reads. No layer above the chosen one is in the
file.

The file is checked first: ONNX Runtime must give the Keras model's vectors to 1e-5, on texts of several lengths,
padded and alone. With --precision int8 the largest difference is printed; --pairs measures retrieval before and after.

--openvino adds DIR/openvino/openvino_model.xml, which SentenceTransformer(DIR, backend="openvino") reads: on CPUs with
bfloat16 the fastest way for one text at a time.

Needs infoxlm_keras[onnx], and infoxlm_keras[openvino] for --openvino. See docs/serving.md.
"""

from collections.abc import Sequence

from infoxlm_keras.commands.encoder_export import export, parse
from infoxlm_keras.files.remote_arguments import with_local_paths


@with_local_paths(outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments, __doc__, _add_openvino)
    export(options, "ONNX", _functions, ("onnx/model.onnx", "onnx/infoxlm.json"), ["openvino"])


def _add_openvino(parser):
    parser.add_argument("--openvino", action="store_true", help="write OpenVINO's own form as well")


def _functions():
    from infoxlm_keras.exporting.to_onnx import export_onnx, onnx_embedder

    return export_onnx, onnx_embedder
