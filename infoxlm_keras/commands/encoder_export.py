"""What `infoxlm export-onnx` and `infoxlm export-litert` share: options, the check, retrieval accuracy, the report."""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from infoxlm_keras.choices import EXPORT_PRECISIONS, POOLINGS
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table, true_or_false
from infoxlm_keras.files import MODEL_FOLDER, check_output, write_json
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.evaluation import PairSet
    from infoxlm_keras.exporting.encoder_export import EncoderExport

SETTINGS = ("layer", "pooling", "normalize", "max_length", "dimensions", "precision")


def parse(
    arguments: Sequence[str] | None,
    description: str,
    add_more: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
) -> argparse.Namespace:
    """The options of a command that exports the encoder.

    Args:
        arguments: list of str; None: those of the process.
        description: str, the command's help text.
        add_more: adds options of the command alone.
    """
    parser = argument_parser(description)
    parser.add_argument("--model", required=True, help="preset: a directory, or any source of convert-checkpoint")
    parser.add_argument("--output_dir", required=True, type=pathlib.Path, metavar="DIR", help="the folder to write")
    parser.add_argument("--layer", type=int, metavar="K", help="hidden state, 0 = embeddings; unset: the trained one")
    parser.add_argument("--pooling", choices=POOLINGS, help="unset: as the model was trained, else mean")
    parser.add_argument(
        "--normalize",
        type=true_or_false,
        metavar="{true,false}",
        help="scale vectors to unit length; unset: as the model does, else true",
    )
    parser.add_argument("--max_length", type=int, metavar="N", help="most tokens of a text; unset: all positions")
    parser.add_argument(
        "--dimensions",
        type=int,
        metavar="D",
        help="only the vector's first D dimensions, which are what is scaled; unset: all",
    )
    parser.add_argument(
        "--precision",
        choices=EXPORT_PRECISIONS,
        default="float32",
        help="of weights and products; int8 quantizes activations as they come",
    )
    parser.add_argument("--pairs", nargs="+", metavar="PATH", help="held-out pairs, as of infoxlm evaluate-retrieval")
    parser.add_argument("--max_pairs", type=int, metavar="N", help="use only the first N pairs of each language")
    parser.add_argument("--overwrite", action="store_true", help="replace the model in DIR")
    add_more(parser)
    return parser.parse_args(arguments)


def export(
    options: argparse.Namespace,
    name: str,
    functions: Callable[[], tuple[Callable[..., EncoderExport], Callable[..., Any]]],
    files: tuple[str, str],
    more_settings: Sequence[str] = (),
) -> None:
    """Exports, measures and reports.

    Args:
        options: of `parse`.
        name: str, the format's name.
        functions: imports and returns (the function that exports, the function that opens the export's model file).
        files: (model file, file of facts), relative to the folder.
        more_settings: names of the command's own options that the function takes.
    """
    # The converter to LiteRT reads TensorFlow's graphs. Presets of every backend open under it.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet_imports():
        from infoxlm_keras.evaluation import read_pair_sets
        from infoxlm_keras.pretrained import load_pretrained
        from infoxlm_keras.text.readers.found import describe

        write, open_embedder = functions()
    settings = {setting: getattr(options, setting) for setting in (*SETTINGS, *more_settings)}
    check_output(options.output_dir, options.overwrite, MODEL_FOLDER, [options.model, *(options.pairs or ())])
    print_settings(f"export to {name}", {"model": options.model, "output_dir": options.output_dir, **settings})
    pair_sets = read_pair_sets(options.pairs, options.max_pairs) if options.pairs else []
    for line in describe(getattr(pair_sets, "passed_over", ())):
        print(line)
    model = load_pretrained(options.model, dtype="float32")
    result = write(model, options.output_dir, **settings, replace=options.overwrite)
    accuracies = {}
    if pair_sets:
        accuracies = measure(result, open_embedder(result.directory / files[0]), pair_sets)
        write_json(result.directory / files[1], {**result.facts, "retrieval_accuracy": accuracies})
    report(result, name, accuracies)


def measure(result: EncoderExport, embed: Callable[..., Any], pair_sets: Sequence[PairSet]) -> dict[str, float]:
    """Mean retrieval accuracy by who embeds: the Keras model, with its whole vectors, and the export."""
    from infoxlm_keras.evaluation import evaluate_retrieval
    from infoxlm_keras.evaluation.retrieval import accuracy_at
    from infoxlm_keras.exporting.vector_check import retrieval_accuracy

    model, vector = result.vectors.model, result.vectors.vector
    texts = sum(2 * len(pair_set.sources) for pair_set in pair_sets)
    with progress_bar("Embedding", 2 * texts, "sentences") as advance:

        def progress(number):
            advance(number, number)

        of_keras = evaluate_retrieval(
            model.backbone,
            model.tokenizer,
            pair_sets,
            [vector.layer],
            vector.pooling,
            max_length=vector.max_length,
            progress=progress,
        )
        of_export = retrieval_accuracy(result.vectors, embed, pair_sets, progress)
    return {"keras": accuracy_at(of_keras, vector.layer)["average"], "export": of_export}


def report(result: EncoderExport, name: str, accuracies: dict[str, float]) -> None:
    """Prints the table of results, and where the files are."""
    from rich.table import Table

    table = Table("", "exported", title=f"{name}, compared with the Keras model")
    for fact, value in result.facts.items():
        if fact != "tokenizer_fingerprint":
            table.add_row(fact, str(value))
    table.add_row("size of the model", f"{result.size / 1e6:.1f} MB")
    table.add_row("largest difference from Keras", f"{result.max_difference:.1e}")
    for who, accuracy in accuracies.items():
        table.add_row(f"retrieval accuracy, {who}", f"{100 * accuracy:.2f}%")
    if accuracies:
        table.add_row("retrieval accuracy lost", f"{100 * (accuracies['keras'] - accuracies['export']):.2f} points")
    show_table(table)
    print(f"wrote {result.directory}")
