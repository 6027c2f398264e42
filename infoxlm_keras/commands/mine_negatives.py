"""Finds hard negatives for queries and their positives: documents that a model finds near, but that do not belong.

--pairs takes what `infoxlm build-bitext --input` takes (TSV, TMX, Moses, folders, en-de=PATH; the first language of
the name is that of the queries), and files with columns: JSON lines, CSV, TSV or Parquet with query (or anchor,
question, sentence1) and positive (or pos, answer, passage, sentence2).

The candidates of a query are the positives of all samples of its language, and the lines of --documents. Positives of
the same query, and texts that equal it, are left out. Of the nearest others the ranks after --skip_top up to
--max_rank are looked at. A candidate above --max_score_share of the positive's own score, or above this score less
--margin, is left out: it is likely to be a positive that nobody marked (NV-Retriever, Moreira et al., 2024). The
model's prompts for queries and documents are used, if it has such.

--output gets JSON lines {"query", "positive", "negatives", "language"}. Samples for which fewer than --negatives
remain are left out unless --keep_fewer is given. Vectors lie in .NAME.work beside the output until it is written:
after an interruption the same command goes on.

    infoxlm mine-negatives --model runs/demo/model --pairs runs/demo/corpus --output negatives.jsonl
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.files.overwriting import refuse_overwriting
from infoxlm_keras.files.remote_arguments import with_local_paths

with quiet_imports():
    from infoxlm_keras.mining.negative_mining import mine_negatives
    from infoxlm_keras.mining.negatives import KNOWN, MARGIN, SAMPLINGS, SHARE, SKIPPED, NegativeSettings
    from infoxlm_keras.models.sentence_vector import sentence_vector
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.text.embedding_samples import read_embedding_samples

ENDING = ".jsonl"
SHOWN_QUANTILES = ("0.05", "0.5", "0.95")
REASONS = {
    KNOWN: "belong to the query",
    SKIPPED: "among the --skip_top nearest",
    SHARE: "above --max_score_share",
    MARGIN: "within --margin",
}


@with_local_paths(inputs=("pairs", "documents"), outputs=("output", "results"))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    fields = [field.name for field in dataclasses.fields(NegativeSettings)]
    settings = NegativeSettings(**{name: getattr(options, name) for name in fields})
    for option, path in (("--output", options.output), ("--results", options.results)):
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path}: is a directory; give a file")
    if options.output.suffix != ENDING:
        raise InputError(f"--output {options.output}: is written as JSON lines; let its name end with {ENDING}")
    refuse_overwriting(vars(options), ["output", "results"])
    parts = read_embedding_samples(options.pairs, options.languages, options.max_samples, with_negatives=False)
    model = load_pretrained(options.model)
    vector = sentence_vector(model, options.layer, options.pooling, max_length=options.max_length, lowest=0)
    resolved = {"layer": vector.layer, "pooling": vector.pooling, "max_length": vector.max_length}
    samples = ", ".join(f"{part.language} {len(part):,}" for part in parts)
    print_settings("mine_negatives", {**vars(options), **resolved, "samples": samples})
    for part in parts:
        for file, reasons in part.reasons.items():
            counts = ", ".join(f"{number:,} with {reason}" for reason, number in reasons.items())
            print(f"left out of {file}: {counts}")
        for line in part.remarks:
            print(line)
    result = mine_negatives(model, vector, parts, options.output, settings, options.documents, options.keep_work)
    report(result, settings)
    if options.results is not None:
        # JSON has no infinity.
        share = settings.max_score_share if math.isfinite(settings.max_score_share) else None
        given = {**dataclasses.asdict(settings), SHARE: share}
        write_json(options.results, {"model": options.model, **resolved, **given, **result})
    for path in (options.output, options.results):
        if path is not None:
            print(f"wrote {path}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    defaults = NegativeSettings()
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    parser.add_argument("--pairs", nargs="+", required=True, metavar="PATH", help="queries and their positives")
    parser.add_argument(
        "--output", required=True, type=pathlib.Path, metavar="FILE.jsonl", help="file for the samples with negatives"
    )
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE.json", help="file for counts and scores")
    parser.add_argument(
        "--documents",
        nargs="+",
        default=[],
        type=pathlib.Path,
        metavar="FILE",
        help="text files with further candidates, one a line",
    )
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="only these languages or pairs; unset: all")
    parser.add_argument("--max_samples", type=int, metavar="N", help="only the first N samples of each language")
    parser.add_argument(
        "--negatives", type=int, default=defaults.negatives, metavar="N", help="negatives of each sample"
    )
    parser.add_argument(
        "--skip_top", type=int, default=defaults.skip_top, metavar="K", help="pass over the K nearest candidates"
    )
    parser.add_argument(
        "--max_rank", type=int, default=defaults.max_rank, metavar="R", help="rank of the last candidate looked at"
    )
    parser.add_argument(
        "--max_score_share",
        type=float,
        default=defaults.max_score_share,
        metavar="S",
        help="leave out candidates above this share of the positive's score; inf: none",
    )
    parser.add_argument(
        "--margin", type=float, metavar="M", help="leave out candidates above the positive's score less M; unset: none"
    )
    parser.add_argument(
        "--sampling", choices=SAMPLINGS, default=defaults.sampling, help="the nearest that remain, or any of them"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="seed of --sampling random")
    parser.add_argument(
        "--keep_fewer", action="store_true", help="write samples with fewer than N negatives, but at least one"
    )
    parser.add_argument("--layer", type=int, metavar="K", help="hidden state, 0 = embeddings; unset: the trained one")
    parser.add_argument("--pooling", choices=POOLINGS, help="pooling; unset: as in training, else mean")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="texts per forward pass")
    parser.add_argument("--max_length", type=int, help="maximum tokens per text; unset: all positions of the model")
    parser.add_argument("--keep_work", action="store_true", help="keep the vectors, to choose again in other ways")
    return parser.parse_args(arguments)


def report(result: dict[str, Any], settings: NegativeSettings) -> None:
    """Prints the counts and scores of `mine_negatives`'s result as a table."""
    from rich.table import Table

    for language, found in result["languages"].items():
        table = Table("", f"hard negatives, {language}", show_header=True)
        for name in ("samples", "queries", "documents"):
            table.add_row(name, f"{found[name]:,}")
        table.add_row("samples written", f"{found['written']:,}")
        for number, samples in found["negatives"].items():
            table.add_row(f"samples with {number} negatives", f"{samples:,}")
        for reason, number in found["left_out"].items():
            table.add_row(f"candidates {REASONS[reason]}", f"{number:,}")
        for name in ("positive_scores", "negative_scores"):
            scores = found[name]
            if scores:
                values = ", ".join(f"{float(share):.0%} {scores[share]:.3f}" for share in SHOWN_QUANTILES)
                table.add_row(name.replace("_", " "), values)
        show_table(table)
        fewer = found["samples"] - found["negatives"].get(str(settings.negatives), 0)
        if fewer and not settings.keep_fewer:
            print(
                f"note: {fewer:,} samples of {language} are left out, for which fewer than {settings.negatives} "
                "negatives remain; --keep_fewer writes those with one at least; a greater --max_rank finds more"
            )
