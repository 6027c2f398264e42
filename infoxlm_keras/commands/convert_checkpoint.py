"""Converts a model between KerasHub, Hugging Face transformers and sentence-transformers, masked-LM head included.

    infoxlm convert-checkpoint --from FacebookAI/xlm-roberta-base --to models/xlm_roberta_base
    infoxlm convert-checkpoint --from runs/demo/model --to exports/hf --format hf
    infoxlm convert-checkpoint --from runs/demo/model --to exports/st --format sentence-transformers

--from takes a preset directory, a KerasHub name (xlm_roberta_base_multi, kaggle://...), a Hugging Face directory or
repository (org/name or hf://org/name, @revision may follow), or a directory of fairseq's weights. Weights of
Hugging Face and fairseq must be safetensors; for a pickle (pytorch_model.bin, model.pt) the message says how to make
them.
All commands take the same sources directly: infoxlm pretrain --init org/name needs no conversion first.

Formats:

  keras                  a preset that every KerasHub task of XLM-R opens, and every command here
  keras-embedder         a preset of keras_hub.models.XLMRobertaTextEmbedder, cut above the universal layer
  hf                     AutoModelForMaskedLM, AutoModel and AutoTokenizer open it; a fine-tuned classifier,
                         question answering or tagger keeps its head and its labels
  sentence-transformers  SentenceTransformer(DIR).encode gives the SavedModel's vectors; cut above the universal layer
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.choices import CONVERSION_FORMATS, POOLINGS, WEIGHT_DTYPES
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table, true_or_false
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.remote_arguments import with_local_paths

if TYPE_CHECKING:
    from infoxlm_keras.exporting.convert import Conversion

TENSOR_FORMATS = ("hf", "sentence-transformers")
VECTOR_FORMATS = ("keras-embedder", "sentence-transformers")
FORMATS_OF_OPTION = {
    "layer": VECTOR_FORMATS,
    "pooling": VECTOR_FORMATS,
    "normalize": VECTOR_FORMATS,
    "dtype": TENSOR_FORMATS,
    "max_shard_size": TENSOR_FORMATS,
    "results": TENSOR_FORMATS,
}
DEFAULTS = {"dtype": "float32", "max_shard_size": "5GB"}


@with_local_paths(inputs=("results",), outputs=("to",))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    settings = {name: getattr(options, name) for name in FORMATS_OF_OPTION}
    check(options.format, settings)
    settings |= {name: value for name, value in DEFAULTS.items() if settings[name] is None}
    used = {name: value for name, value in settings.items() if options.format in FORMATS_OF_OPTION[name]}
    given = {"from": options.source, "to": options.directory, "format": options.format, "upload": options.upload}
    print_settings("convert_checkpoint", {**given, **used})
    with quiet_imports():
        from infoxlm_keras.exporting.convert import convert_checkpoint

    result = convert_checkpoint(
        options.source,
        options.directory,
        options.format,
        **settings,
        upload_to=options.upload,
        replace=options.overwrite,
    )
    report(result, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--from", required=True, dest="source", metavar="SRC", help="the model to read")
    parser.add_argument(
        "--to", required=True, dest="directory", type=pathlib.Path, metavar="DIR", help="the folder to write"
    )
    parser.add_argument("--format", choices=CONVERSION_FORMATS, default="keras", help="format to write")
    parser.add_argument(
        "--layer", type=int, metavar="K", help="layer of the sentence vector, from 1; unset: the universal layer"
    )
    parser.add_argument(
        "--pooling", choices=POOLINGS, help="pooling of the sentence vector; unset: as in training, else mean"
    )
    parser.add_argument(
        "--normalize",
        type=true_or_false,
        metavar="{true,false}",
        help="scale sentence vectors to unit length; unset: as the source does, else true",
    )
    parser.add_argument("--dtype", choices=WEIGHT_DTYPES, help="dtype of the safetensors weights; unset: float32")
    parser.add_argument("--max_shard_size", metavar="SIZE", help="largest safetensors file; unset: 5GB")
    parser.add_argument(
        "--results", metavar="FILE.json", help="output of infoxlm evaluate-retrieval, for the model card"
    )
    parser.add_argument(
        "--upload",
        metavar="URI",
        help="also upload to hf://org/name, or a preset to kaggle://user/model/keras/variation",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the model in DIR")
    return parser.parse_args(arguments)


def check(format: str, settings: Mapping[str, Any]) -> None:
    """Refuses, before anything heavy loads, a setting that the chosen format has no use for."""
    for name, formats in FORMATS_OF_OPTION.items():
        if settings[name] is not None and format not in formats:
            raise InputError(
                f"--{name} {settings[name]}: belongs to --format {' or '.join(formats)}, not to {format}; leave it out"
            )


def report(result: Conversion, options: argparse.Namespace) -> None:
    """Prints the table of results, and where the files are."""
    from rich.table import Table

    # A `PretrainedModel`, or a fine-tuned one.
    model: Any = result.model
    vector = result.vector
    layers = f"{model.backbone.num_layers}" if vector is None else f"{vector.layer} of {model.backbone.num_layers}"
    name, head = "masked-LM head", "yes" if model.has_head else "no: the source has none"
    if vector is not None:
        head = "left out"
    elif hasattr(model, "description"):
        name, head = "head", model.description
    table = Table("", "converted", title=f"{options.source} to {options.format}")
    table.add_row("Transformer layers", layers)
    table.add_row("width", str(model.backbone.hidden_dim))
    table.add_row("positions", str(model.backbone.max_sequence_length))
    table.add_row("vocabulary", f"{model.backbone.vocabulary_size:,}")
    table.add_row(name, head)
    if vector is not None:
        table.add_row("sentence vector", f"{vector.pooling}, {'unit length' if vector.normalize else 'not scaled'}")
    table.add_row("size on disk", f"{result.size / 1e6:.1f} MB")
    show_table(table)
    if options.upload is not None:
        print(f"uploaded to {options.upload}")
    print(f"wrote {result.directory}")
