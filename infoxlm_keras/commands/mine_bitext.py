"""Finds translations among the sentences of two files that are not aligned.

Each sentence's nearest neighbours on the other side are scored by a margin: their cosine against the mean cosine of
both sentences' k nearest neighbours (ratio, distance, csls), or the cosine itself (absolute). Candidates are taken
from the sources (forward), from the targets (backward), from both where they agree (intersection), or from the union
of both lists by descending score, each sentence once (union_max, as LASER and XTREME do for BUCC).

--output gets tab-separated `score source target`, best first. Under the name WikiMatrix.<src>-<tgt>.tsv, infoxlm
build-bitext reads it, with --margin. With --gold (`source id<TAB>target id` a line; without --ids a sentence's id is
its line number) the threshold with the best F1 is used unless --threshold gives one. As in BUCC, choose it on
development data and give it for the test data.

Blank lines and repeated sentences are left out and counted. Vectors and neighbours lie in .NAME.work beside the output
until it is written: after an interruption the same command goes on. --index exact compares all pairs; usearch (extra
`search`) walks a graph, for millions of sentences, and may miss a few neighbours.

    infoxlm mine-bitext --model runs/demo/model --source news.en --target news.de --output WikiMatrix.en-de.tsv
"""

from __future__ import annotations

import argparse
import dataclasses
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
    from infoxlm_keras.evaluation.margin import MARGINS
    from infoxlm_keras.mining.candidates import DIRECTIONS
    from infoxlm_keras.mining.mining import VECTOR_TYPES, MiningSettings, mine_bitext
    from infoxlm_keras.mining.neighbours import INDEXES
    from infoxlm_keras.models.sentence_vector import sentence_vector
    from infoxlm_keras.pretrained import load_pretrained

# More comparisons of numbers than these take hours on a few cores.
MANY_COMPARISONS = 1e15
COMPRESSED = (".gz", ".bz2", ".xz", ".zst")


@with_local_paths(inputs=("source", "target", "gold"), outputs=("output", "results"))
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    names = ("margin", "neighbours", "direction", "threshold", "index", "ids", "write_ids", "vectors", "batch_size")
    settings = MiningSettings(**{name: getattr(options, name) for name in names})
    for option, path in (("--output", options.output), ("--results", options.results)):
        if path is not None and path.is_dir():
            raise InputError(f"{option} {path}: is a directory; give a file")
    if options.output.suffix in COMPRESSED:
        raise InputError(f"--output {options.output}: is written as plain text; leave {options.output.suffix} out")
    refuse_overwriting(vars(options), ["output", "results"])
    model = load_pretrained(options.model)
    vector = sentence_vector(model, options.layer, options.pooling, max_length=options.max_length, lowest=0)
    resolved = {"layer": vector.layer, "pooling": vector.pooling, "max_length": vector.max_length}
    print_settings("mine_bitext", {**vars(options), **resolved})
    files = (options.source, options.target, options.output)
    result = mine_bitext(model, vector, *files, settings, options.gold, options.keep_work)
    comparisons = result["source"]["sentences"] * result["target"]["sentences"] * model.backbone.hidden_dim
    if settings.index == "exact" and comparisons > MANY_COMPARISONS:
        print("note: with this many sentences --index usearch is much faster")
    report(result)
    if options.results is not None:
        write_json(options.results, {"model": options.model, **resolved, **dataclasses.asdict(settings), **result})
    for path in (options.output, options.results):
        if path is not None:
            print(f"wrote {path}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    defaults = MiningSettings()
    parser.add_argument("--model", required=True, help="preset: a directory, or a name that KerasHub knows")
    for side in ("source", "target"):
        parser.add_argument(
            f"--{side}", required=True, type=pathlib.Path, metavar="FILE", help="text file, a sentence a line"
        )
    parser.add_argument("--output", required=True, type=pathlib.Path, metavar="FILE.tsv", help="file for the pairs")
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE.json", help="file for counts and scores")
    parser.add_argument("--gold", type=pathlib.Path, metavar="FILE", help="pairs of ids that are translations")
    parser.add_argument("--ids", action="store_true", help="lines are id<TAB>sentence, as in BUCC")
    parser.add_argument("--write_ids", action="store_true", help="write the ids of both sentences as columns 4 and 5")
    parser.add_argument("--margin", choices=MARGINS, default=defaults.margin, help="score of a pair")
    parser.add_argument("--neighbours", type=int, default=defaults.neighbours, metavar="K", help="k of the margin")
    parser.add_argument(
        "--direction", choices=DIRECTIONS, default=defaults.direction, help="whose candidates are taken"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="T", help="least score; unset: best F1 on --gold, else all candidates"
    )
    parser.add_argument("--layer", type=int, metavar="K", help="hidden state, 0 = embeddings; unset: the trained one")
    parser.add_argument("--pooling", choices=POOLINGS, help="pooling; unset: as in training, else mean")
    parser.add_argument("--index", choices=INDEXES, default=defaults.index, help="how neighbours are found")
    parser.add_argument("--vectors", choices=VECTOR_TYPES, default=defaults.vectors, help="type of the stored vectors")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="sentences per forward pass")
    parser.add_argument(
        "--max_length", type=int, help="maximum tokens per sentence; unset: all positions of the model"
    )
    parser.add_argument(
        "--keep_work", action="store_true", help="keep vectors and neighbours, to score them again in other ways"
    )
    return parser.parse_args(arguments)


def report(result: dict[str, Any]) -> None:
    """Prints the counts and scores of `mine_bitext`'s result as a table."""
    from rich.table import Table

    table = Table("", "mined pairs", show_header=False)
    for side in ("source", "target"):
        counts = result[side]
        left = [f"{counts[name]:,} {name}" for name in ("blank", "repeated") if counts[name]]
        table.add_row(side, f"{counts['sentences']:,} sentences" + (f" (left out: {', '.join(left)})" if left else ""))
    table.add_row("candidates", f"{result['candidates']:,}")
    table.add_row(
        "threshold", "none: all are written" if result["threshold"] is None else f"{result['threshold']:.6f}"
    )
    table.add_row("pairs", f"{result['pairs']:,}")
    gold = result["gold"]
    if gold is not None:
        origin = "chosen on these gold pairs" if gold["threshold_from"] == "gold" else "given"
        table.add_row("gold pairs", f"{gold['pairs']:,} (threshold {origin})")
        for name, label in (("precision", "precision"), ("recall", "recall"), ("f1", "F1")):
            table.add_row(label, f"{100 * gold[name]:.2f}%")
    show_table(table)
    if gold is not None and gold["f1"] == 0.0:
        print(
            "warning: no pair that was found is a gold pair; ids are line numbers from 1, or those of --ids, the "
            "source's first"
        )
