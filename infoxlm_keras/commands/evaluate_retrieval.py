"""Measures an encoder by cross-lingual retrieval: is a sentence's nearest neighbour its translation?

For each held-out sentence, the command ranks all held-out sentences of the other language by cosine, in both
directions, and counts how often the translation comes first. It reads the formats of infoxlm build-bitext:
Tatoeba's layout (tatoeba.deu-eng.deu + tatoeba.deu-eng.eng), TMX, JSON lines, FLORES, NTREX, ... (see below).

Layers are hidden-state indices: 0 is the embeddings, l is the output of Transformer layer l. The command
measures all layers unless --layer names one. It names the layer with the best mean over languages; that choice is made
on the same pairs, so its accuracy is optimistic. Candidates with equal cosine share the credit.

    infoxlm evaluate-retrieval --model runs/demo/model --pairs pairs/ --output retrieval.json --plots plots/
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import rich

from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.text.readers.formats import BITEXT_FORMATS
from infoxlm_keras.text.readers.found import describe as describe_passed_over

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo

with quiet_imports():
    from infoxlm_keras.evaluation import evaluate_retrieval, read_pair_sets
    from infoxlm_keras.models.encoder import check_layer
    from infoxlm_keras.models.sentence_vector import model_max_length, model_pooling
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.retrieval_tables import language_table, layer_table


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.output is not None and options.output.is_dir():
        raise InputError(
            f"--output {options.output}: is a directory; give a file, for instance {options.output}/retrieval.json"
        )
    if options.plots is not None and options.plots.is_file():
        raise InputError(f"--plots {options.plots}: is a file; give a directory")
    pair_sets = read_pair_sets(options.pairs, options.max_pairs, options.fields)
    model = load_pretrained(options.model)
    info = model.info
    pooling = options.pooling or model_pooling(info)
    layers = requested_layers(options.layer, model.backbone.num_layers)
    pairs = " ".join(map(str, options.pairs))
    print_settings("evaluate_retrieval", {**vars(options), "pairs": pairs, "pooling": pooling, "layers": layers})
    for line in describe_passed_over(pair_sets.passed_over):
        print(line)
    with progress_bar("Embedding", sum(2 * len(pair_set.sources) for pair_set in pair_sets), "sentences") as advance:
        result = evaluate_retrieval(
            model.backbone,
            model.tokenizer,
            pair_sets,
            layers,
            pooling,
            options.batch_size,
            model_max_length(model, options.max_length),
            progress=lambda number: advance(number, number),
        )
    if options.output is not None:
        write_json(options.output, {"model": describe(options.model, model), **result})
    if options.plots is not None:
        draw(result, options.plots)
    report(result, info, options)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    parser.add_argument(
        "--pairs", required=True, nargs="+", metavar="PATH", help="folders or files of held-out pairs, or en-de=PATH"
    )
    fields = "names of the source and target fields, for formats with fields"
    parser.add_argument("--fields", nargs=2, metavar=("SOURCE", "TARGET"), help=fields)
    parser.add_argument("--layer", default="all", metavar="K|all", help="hidden state to measure, 0 = embeddings")
    parser.add_argument(
        "--pooling", choices=POOLINGS, help="pooling of the sentence vector; unset: as in training, else mean"
    )
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE.json", help="file for all results")
    parser.add_argument("--plots", type=pathlib.Path, metavar="DIR", help="folder for retrieval_heatmap.png")
    parser.add_argument("--max_pairs", type=int, metavar="N", help="use only the first N pairs of each language")
    parser.add_argument("--batch_size", type=int, default=64, help="sentences per forward pass")
    parser.add_argument(
        "--max_length",
        type=int,
        help="maximum tokens per sentence, longer ones are truncated; unset: all positions of the model",
    )
    parser.epilog = BITEXT_FORMATS.replace("--input", "--pairs")
    return parser.parse_args(arguments)


def requested_layers(layer: str, num_layers: int) -> list[int]:
    """The hidden states that `--layer` asks for, list of int."""
    if layer == "all":
        return list(range(num_layers + 1))
    if not layer.isdecimal():
        raise InputError(f"--layer {layer}: must be all, or a hidden state 0..{num_layers}")
    check_layer(int(layer), num_layers, lowest=0)
    return [int(layer)]


def describe(source: str, model: PretrainedModel) -> dict[str, Any]:
    """What was measured, for the JSON file."""
    return {
        "source": source,
        "num_layers": model.backbone.num_layers,
        "hidden_dim": model.backbone.hidden_dim,
        "vocabulary_size": model.backbone.vocabulary_size,
        "tokenizer_fingerprint": model.tokenizer.fingerprint,
        "pretraining": dataclasses.asdict(model.info) if model.info else None,
    }


def draw(result: dict[str, Any], directory: pathlib.Path) -> None:
    from infoxlm_keras.reports.plots import retrieval_heatmap, save_figure

    save_figure(retrieval_heatmap(result), directory / "retrieval_heatmap.png")


def report(result: dict[str, Any], info: PretrainingInfo | None, options: argparse.Namespace) -> None:
    """Prints the tables, and where the files are."""
    rich.print(language_table(result, result["best_layer"]))
    if len(result["layers"]) > 1:
        rich.print(layer_table(result, info.universal_layer if info else None))
    print(f"layer: {result['layer_definition']}")
    for path in (options.output, options.plots):
        if path is not None:
            print(f"wrote {path}")
