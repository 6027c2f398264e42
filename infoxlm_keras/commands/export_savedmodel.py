"""Exports a preset as a SavedModel for TensorFlow Serving that takes raw strings.

    infoxlm export-savedmodel --model runs/demo/model --output_dir runs/demo/serving

writes OUTPUT_DIR/N, where N is one more than the highest version there. The heads are listed below.

Each head has the signatures serving_default (strings) and tokens (token_ids + padding_mask); embedding also has
similarity (text_a, text_b -> cosine). The model accepts any bytes: it reads invalid UTF-8 as U+FFFD and cuts
text that is too long (qa reads a long context in windows). Each version is checked first: a fresh process, which has
tensorflow and tensorflow_text but not Keras, must give the outputs of the Keras model. Presets trained under JAX or
PyTorch work too.

--dtype and --quantize store weights in fewer bytes. Arithmetic stays float32, and casting costs time on a CPU.
int8 quantizes weights only, with one scale per channel. --pairs measures retrieval accuracy before and after
(embedding).

--dimensions shortens the vectors of the embedding head. --vectors int8 returns 127 times each value, rounded, and
--vectors binary one bit a dimension, in place of float32. similarity stays the cosine in float32.

For TensorFlow Serving, the command writes models.config and batching_parameters.txt to OUTPUT_DIR, unless they exist
already. If tensorflow-serving-api is installed, the version holds warm-up requests. See docs/serving.md.
"""

import argparse
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.serving.heads.registry import HEADS, head_row, heads_help, load_head, owners_of_settings
from infoxlm_keras.serving.server_files import check_model_name
from infoxlm_keras.serving.versions import default_model_name, version_directory

if TYPE_CHECKING:
    from infoxlm_keras.evaluation import PairSet
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.serving.export import Export
    from infoxlm_keras.serving.heads.embedding import EmbeddingModule
    from infoxlm_keras.serving.serving_module import ServingModule

DTYPES = ("float32", "bfloat16", "float16")


@with_local_paths(outputs=("output_dir",))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    check(options)
    directory = version_directory(options.output_dir, options.model_version)
    model_name = options.model_name or default_model_name(options.output_dir)
    check_model_name(model_name)

    # Only TensorFlow writes SavedModels, whichever backend trained the preset. Keras reads the variable at its import.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_imports():
        from infoxlm_keras.evaluation import read_pair_sets
        from infoxlm_keras.serving.export import export_module
        from infoxlm_keras.text.readers.found import describe

    pair_sets = read_pair_sets(options.pairs, options.max_pairs) if options.pairs else []
    for line in describe(getattr(pair_sets, "passed_over", ())):
        print(line)
    module, model = load_module(options)
    settings = {"model": options.model, "directory": directory, "model_name": model_name, **module.facts()}
    print_settings("export_savedmodel", settings)
    result = export_module(module, directory, model_name=model_name, tokens_only=options.tokens_only)
    report(result, measure(module, model, directory, pair_sets) if pair_sets else {})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(f"{__doc__}\nHeads:\n\n{heads_help()}\n")
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    parser.add_argument("--output_dir", required=True, type=pathlib.Path, help="directory of all versions of a model")
    parser.add_argument("--head", choices=HEADS, default="embedding", help="what the model returns")
    for setting, owners in owners_of_settings().items():
        parser.add_argument(f"--{setting}", **head_row(owners[0]).settings[setting])
    parser.add_argument(
        "--max_length", type=int, metavar="N", help="most tokens of a text; unset: all positions of the model"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="how weights are stored")
    parser.add_argument("--quantize", choices=("int8",), help="store weights in 8 bits")
    parser.add_argument("--pairs", nargs="+", metavar="PATH", help="held-out pairs, as of infoxlm evaluate-retrieval")
    parser.add_argument("--max_pairs", type=int, metavar="N", help="use only the first N pairs of each language")
    parser.add_argument(
        "--tokens_only",
        action="store_true",
        help="leave out the signatures that take strings, for servers without SentencePiece ops",
    )
    parser.add_argument(
        "--model_name", metavar="NAME", help="name of the model at the server; unset: the name of OUTPUT_DIR"
    )
    parser.add_argument(
        "--model_version", type=int, metavar="N", help="version number; unset: one more than the highest in OUTPUT_DIR"
    )
    return parser.parse_args(arguments)


def check(options: argparse.Namespace) -> None:
    """Refuses, before anything heavy loads, a setting of another head than the chosen one."""
    for name, owners in owners_of_settings().items():
        value = getattr(options, name)
        if value is not None and options.head not in owners:
            raise InputError(
                f"--{name} {value}: belongs to --head {' or '.join(owners)}, not to {options.head}; leave it out"
            )
    if options.pairs is not None and not head_row(options.head).measures_retrieval:
        able = " or ".join(name for name, row in HEADS.items() if row.measures_retrieval)
        raise InputError(f"--pairs {options.pairs}: belongs to --head {able}, not to {options.head}; leave it out")
    if options.tokens_only and (head_row(options.head).needs_strings or options.pairs):
        bound = " or ".join([f"--head {name}" for name, row in HEADS.items() if row.needs_strings] + ["--pairs"])
        raise InputError(f"--tokens_only: does not go with {bound}, which need strings")
    if options.quantize and options.dtype != "float32":
        raise InputError(f"--quantize {options.quantize} --dtype {options.dtype}: give one of them, not both")


def load_module(options: argparse.Namespace) -> "tuple[ServingModule, Any]":
    """The `ServingModule` of the chosen head, and the model it came from, with the preset's weights in float32."""
    own = {name: getattr(options, name) for name in head_row(options.head).settings}
    given = {name: value for name, value in own.items() if value is not None}
    storage = options.quantize or options.dtype
    return load_head(options.head, options.model, max_length=options.max_length, storage=storage, **given)


def measure(
    module: "EmbeddingModule", model: "PretrainedModel", directory: pathlib.Path, pair_sets: "Sequence[PairSet]"
) -> dict[str, float]:
    """Mean retrieval accuracy, by who embeds: the Keras model and the export."""
    from infoxlm_keras.evaluation.retrieval import accuracy_at
    from infoxlm_keras.serving.retrieval_comparison import compare_retrieval

    texts = sum(2 * len(pair_set.sources) for pair_set in pair_sets)
    with progress_bar("Embedding", 2 * texts, "sentences") as advance:
        results = compare_retrieval(module, model, directory, pair_sets, lambda number: advance(number, number))
    return {name: accuracy_at(result, module.layer)["average"] for name, result in results.items()}


def report(result: "Export", accuracies: dict[str, float]) -> None:
    """Writes the accuracies to the version's facts, and prints the table of results and the path."""
    from rich.table import Table

    table = Table("", "exported", title="SavedModel, checked in a fresh process")
    for name, value in result.facts.items():
        if name not in ("format_version", "tokenizer_fingerprint", "weights_digest"):
            table.add_row(name, str(value))
    table.add_row("size on disk", f"{result.size / 1e6:.1f} MB")
    table.add_row("largest difference from Keras", f"{result.max_difference:.1e}")
    for name, accuracy in accuracies.items():
        table.add_row(f"retrieval accuracy, {name}", f"{100 * accuracy:.2f}%")
    if accuracies:
        table.add_row("retrieval accuracy lost", f"{100 * (accuracies['keras'] - accuracies['export']):.2f} points")
        facts = {**result.facts, "retrieval_accuracy": accuracies}
        write_json(result.directory / "assets.extra" / "infoxlm.json", facts)
    records = "none: pip install infoxlm_keras[serving]" if result.warmup_records is None else result.warmup_records
    table.add_row("warm-up requests", str(records))
    show_table(table)
    print(f"wrote {result.directory}")
