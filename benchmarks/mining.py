"""Bitext mining on held-out pairs with distractors: F1 by score, and by the side whose candidates are taken.

    python benchmarks/mining.py --run runs/demo

--run is the directory of `make demo` (its model/, initial_model/ and corpus/heldout/ are used). Of the held-out pairs
of English and a language a third is put on both sides; the other two thirds give each side as many sentences without a
translation (50% distractors). The threshold of a language is the mean of the best thresholds of the other languages;
the best F1, chosen on the language's own gold pairs, stands beside it. Prints the mean over languages, and with
--languages a row for each of them.
"""

import pathlib
import random

import numpy as np
import rich
import rich.table

from infoxlm_keras import load_pretrained
from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.evaluation import read_pair_sets
from infoxlm_keras.evaluation.margin import MARGINS, nearest_neighbours
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.mining.candidates import DIRECTIONS, candidate_pairs
from infoxlm_keras.mining.gold import best_threshold, scores_at


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--run", type=pathlib.Path, default="runs/demo", help="directory of a demo run")
    parser.add_argument("--models", nargs="+", default=["model", "initial_model"], help="presets in it")
    parser.add_argument("--neighbours", type=int, default=4, help="k of the margin")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the pairs")
    parser.add_argument("--languages", action="store_true", help="print the languages too, margin ratio, union_max")
    options = parser.parse_args(arguments)
    print_settings("mining", vars(options))
    pair_sets = read_pair_sets([options.run / "corpus" / "heldout"])
    for name in options.models:
        model = load_pretrained(options.run / name)
        neighbours = {pair_set.language: sides(model, pair_set, options) for pair_set in pair_sets}
        table = rich.table.Table(title=f"{name}: % of {len(pair_sets)} languages, k = {options.neighbours}")
        for heading in ("margin", "direction", "precision", "recall", "F1", "best F1"):
            table.add_column(heading, justify="right" if "1" in heading or heading[0] in "pr" else "left")
        for margin in MARGINS:
            for direction in DIRECTIONS:
                rows = measured(neighbours, margin, direction)
                table.add_row(
                    margin, direction, *(f"{100 * value:.1f}" for value in np.mean([*rows.values()], axis=0))
                )
                if options.languages and (margin, direction) == ("ratio", "union_max"):
                    for language, row in rows.items():
                        table.add_row("", language, *(f"{100 * value:.1f}" for value in row))
        rich.print(table)


def sides(model, pair_set, options):
    """(nearest targets of each source, nearest sources of each target, gold pairs)."""
    pairs = list(dict.fromkeys(zip(pair_set.sources, pair_set.targets, strict=True)))
    random.Random(options.seed).shuffle(pairs)
    third = len(pairs) // 3
    sources = [pair[0] for pair in pairs[: 2 * third]]
    targets = [pair[1] for pair in pairs[:third] + pairs[2 * third : 3 * third]]
    vectors = [unit_rows(model.encode(side, progress=False)) for side in (sources, targets)]
    found = [nearest_neighbours(*both, options.neighbours) for both in (vectors, vectors[::-1])]
    return (*found, {(number, number) for number in range(third)})


def measured(neighbours, margin, direction):
    """{language: (precision, recall, F1 at the other languages' threshold, best F1)}."""
    pairs = {
        language: candidate_pairs(forward, backward, margin, direction)
        for language, (forward, backward, _) in neighbours.items()
    }
    best = {language: best_threshold(found, neighbours[language][2]) for language, found in pairs.items()}
    rows = {}
    for language, found in pairs.items():
        threshold = np.mean([value for other, value in best.items() if other != language])
        gold = neighbours[language][2]
        rows[language] = (*scores_at(found, gold, threshold).values(), scores_at(found, gold, best[language])["f1"])
    return rows


if __name__ == "__main__":
    run_command(main)
