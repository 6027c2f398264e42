"""Exports the sentence encoder to LiteRT (TensorFlow Lite), for phones and other small devices.

    infoxlm export-litert --model runs/demo/model --output_dir runs/demo/litert --precision int8

writes DIR/model.tflite with the inputs token_ids and padding_mask, int32 [batch, length] of any size, and one output,
float32 [batch, D]. It has LiteRT's own operators only. The tokenizer's files lie beside it. No layer above the chosen
one is in the file.

The file is checked first: the LiteRT interpreter must give the Keras model's vectors to 1e-5, on texts of several
lengths, padded and alone. With --precision int8 the largest difference is printed; --pairs measures retrieval before
and after.

Needs infoxlm_keras[litert]. See docs/serving.md.
"""

from collections.abc import Sequence

from infoxlm_keras.commands.encoder_export import export, parse
from infoxlm_keras.files.remote_arguments import with_local_paths


@with_local_paths(outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    export(parse(arguments, __doc__), "LiteRT", _functions, ("model.tflite", "infoxlm.json"))


def _functions():
    from infoxlm_keras.exporting.to_litert import export_litert, litert_embedder

    return export_litert, litert_embedder
