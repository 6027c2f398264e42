"""What each part of the method gives: retrieval with and without it, on the demo's text, several seeds each.

    python benchmarks/ablation.py --data runs/demo --output_dir runs/ablation
    python benchmarks/ablation.py --data runs/demo --output_dir runs/ablation --variants full,no_mixup --seeds 1,2

    python benchmarks/ablation.py --data runs/demo --output_dir runs/ablation_after_mlm --mlm_steps 2000

With --mlm_steps each seed first trains masked LM alone for as many steps, and all variants of the seed start from that
encoder, as the paper's start from XLM-R. See in start-SEED/plots/training.png whether its loss has come to rest.

--data is the directory of `make demo` (its records/ and corpus/heldout/ are used). Every run has the same number of
steps and the same samples of each task a step, so a variant with fewer tasks costs, and sees, less. Accuracy is the
mean over languages and both directions, mean pooling: at the layer that the contrast is on in the full method, at the
last layer, and at each run's best layer (chosen on these very pairs). The differences to the first variant are paired
by seed and sentence, at the layer of the contrast; their intervals are by the bootstrap over seeds and sentences. A
finished run is not repeated: after an interruption, give the same command again.

Writes to OUTPUT_DIR: ablation.json (all numbers), ablation.md (the table), ablation.png, and a directory a run.
"""

import pathlib
import statistics
import subprocess
import sys

import numpy as np
import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.config import load_config
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.bootstrap import paired_difference
from infoxlm_keras.files import write_atomically, write_json
from infoxlm_keras.models.sizes import default_universal_layer

ROOT = pathlib.Path(__file__).resolve().parent.parent


def variants(num_layers):
    """dict of name to (what it is, arguments of recipes/pretrain.py)."""
    return {
        "full": ("all three tasks", []),
        "no_mixup": ("one pair on each side", ["--set", "xlco.mixup=false"]),
        "last_layer": (f"contrast on layer {num_layers}", ["--set", f"xlco.universal_layer={num_layers}"]),
        "no_xlco": ("MMLM and TLM", ["--tasks", "mmlm,tlm"]),
        "mmlm": ("MMLM only", ["--tasks", "mmlm"]),
    }


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=pathlib.Path, default="runs/demo", help="directory of a demo run")
    parser.add_argument("--output_dir", type=pathlib.Path, default="runs/ablation", help="where everything goes")
    parser.add_argument("--config", default="tiny", help="settings of the full method")
    parser.add_argument("--steps", type=int, default=700, help="optimizer updates of every run")
    parser.add_argument(
        "--mlm_steps", type=int, default=0, help="updates of masked LM alone that every variant of a seed starts from"
    )
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting of all runs"
    )
    parser.add_argument("--variants", help="comma-separated; unset: all of full, no_mixup, last_layer, no_xlco, mmlm")
    options = parser.parse_args(arguments)
    config = load_config(options.config, options.set)
    num_layers = config.model.encoder_size.num_layers
    known = variants(num_layers)
    chosen = options.variants.split(",") if options.variants else list(known)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise InputError(f"--variants {unknown[0]}: must be of {', '.join(known)}")
    print_settings("ablation", vars(options))
    layer = config.xlco.universal_layer or default_universal_layer(num_layers)
    # Seed by seed, so that an interrupted comparison has every variant.
    results = {name: [] for name in chosen}
    credits = {name: [] for name in chosen}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        start = [] if not options.mlm_steps else ["--init", masked_lm_alone(options, seed)]
        if start:
            results.setdefault("start", []).append(evaluated(options, f"start-{seed}"))
            credits.setdefault("start", []).append(credits_of(options, f"start-{seed}", layer))
        for name in chosen:
            results[name].append(run([*known[name][1], *start], options, name, seed))
            credits[name].append(credits_of(options, f"{name}-{seed}", layer))
    meanings = {"start": f"MMLM, {options.mlm_steps} steps"} | {name: known[name][0] for name in chosen}
    rows = {name: (meanings[name], summarize(found, layer, num_layers)) for name, found in results.items()}
    against = {
        name: paired_difference(credits[chosen[0]], found) for name, found in credits.items() if name != chosen[0]
    }
    report(rows, options, layer, num_layers, chosen[0], against)


def masked_lm_alone(options, seed):
    """The model of `--mlm_steps` updates of MMLM alone, trained unless that is done."""
    directory = options.output_dir / f"start-{seed}"
    if not (directory / "model").exists():
        pretrain(directory, options, seed, options.mlm_steps, ["--tasks", "mmlm"])
    return directory / "model"


def run(settings, options, name, seed):
    """The `retrieval.json` of one variant and seed, trained and evaluated unless that is done."""
    directory = options.output_dir / f"{name}-{seed}"
    if not (directory / "model").exists():
        pretrain(directory, options, seed, options.steps, settings)
    return evaluated(options, directory.name)


def pretrain(directory, options, seed, steps, settings):
    """Trains a run, or continues it."""
    common = [part for setting in (*options.set, f"seed={seed}") for part in ("--set", setting)]
    command("pretrain", "--config", options.config, "--data_dir", options.data / "records", "--output_dir",
            directory, "--steps", steps, *common, *settings)  # fmt: skip


def evaluated(options, name):
    """The retrieval of the run called `name`, measured unless that is done."""
    from infoxlm_keras.reports.retrieval_tables import read_retrieval

    directory = options.output_dir / name
    retrieval = directory / "retrieval.json"
    if not retrieval.exists():
        command("evaluate_retrieval", "--model", directory / "model", "--pairs", options.data / "corpus/heldout",
                "--pooling", "mean", "--output", retrieval)  # fmt: skip
    return read_retrieval(retrieval)


def credits_of(options, name, layer):
    """List of float [N], one a language: the credit of each pair, the mean of both ways, at `layer`."""
    path = options.output_dir / name / "credits.npz"
    if not path.exists():
        from infoxlm_keras.evaluation.embedding import TextEmbedder
        from infoxlm_keras.evaluation.pairs import read_pair_sets
        from infoxlm_keras.evaluation.retrieval import retrieval_credits
        from infoxlm_keras.pretrained import load_pretrained

        model = load_pretrained(path.with_name("model"))
        embedder = TextEmbedder(model.backbone, model.tokenizer, [layer], "mean")
        found = {}
        for pairs in read_pair_sets([options.data / "corpus/heldout"]):
            both = retrieval_credits(embedder(pairs.sources)[0], embedder(pairs.targets)[0])
            found[pairs.language] = both.mean(axis=0)
        np.savez(path, **found)
    with np.load(path) as arrays:
        return [arrays[language] for language in sorted(arrays)]


def command(recipe, *arguments):
    """Runs one of the recipes to its end."""
    line = [sys.executable, str(ROOT / "recipes" / f"{recipe}.py"), *map(str, arguments)]
    print("$ " + " ".join(line[1:]), flush=True)
    if subprocess.run(line, check=False).returncode:
        raise InputError(f"{recipe} failed; its message is above")


def summarize(results, layer, last):
    """dict of "universal", "last" and "best" to a list of accuracies in %, one a seed, and "best_layers"."""
    found = {"universal": [], "last": [], "best": [], "best_layers": []}
    for result in results:
        mean = result["mean"]
        both = [50 * (a + b) for a, b in zip(mean["source_to_target"], mean["target_to_source"], strict=True)]
        found["universal"].append(both[result["layers"].index(layer)])
        found["last"].append(both[result["layers"].index(last)])
        found["best"].append(max(both))
        found["best_layers"].append(result["best_layer"])
    return found


def report(rows, options, layer, last, first, against):
    """Writes and prints the tables: mean and range over seeds; differences of the variant `first` to the others."""
    columns = ("variant", "", f"layer {layer} (universal)", f"layer {last} (last)", "best layer")
    table = rich.table.Table(title=f"retrieval in %, mean ± spread (max - min, halved), {options.steps} steps")
    lines = ["| " + " | ".join(columns) + " |", "|---|---|---:|---:|---:|"]
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number > 1 else "left")
    for name, (meaning, found) in rows.items():
        cells = [f"{statistics.mean(v):.1f} ± {(max(v) - min(v)) / 2:.1f}" for v in
                 (found["universal"], found["last"], found["best"])]  # fmt: skip
        cells[2] += f" (layer {', '.join(map(str, sorted(set(found['best_layers']))))})"
        table.add_row(name, meaning, *cells)
        lines.append("| " + " | ".join([name, meaning, *cells]) + " |")
    rich.print(table)
    differences = rich.table.Table(title=f"{first} minus the variant in points, layer {layer}, 95% interval")
    lines += ["", f"| {first} minus | points | 95% interval |", "|---|---:|---:|"]
    for column in ("variant", "points", "interval"):
        differences.add_column(column, justify="left" if column == "variant" else "right")
    for name, found in against.items():
        shown = f"{100 * found['difference']:+.1f}"
        cells = [name, shown, f"{100 * found['lower']:+.1f} to {100 * found['upper']:+.1f}"]
        differences.add_row(*cells)
        lines.append("| " + " | ".join(cells) + " |")
    rich.print(differences)
    values = {name: {"meaning": meaning, **found} for name, (meaning, found) in rows.items()}
    write_json(
        options.output_dir / "ablation.json",
        {
            "steps": options.steps,
            "mlm_steps": options.mlm_steps,
            "seeds": options.seeds,
            "first": first,
            "differences": against,
            **values,
        },
    )
    write_atomically(options.output_dir / "ablation.md", "\n".join(lines) + "\n")
    draw(rows, options.output_dir / "ablation.png")
    print(f"wrote ablation.json, ablation.md and ablation.png in {options.output_dir}")


def draw(rows, path):
    """A bar a variant at its best layer, a dot a seed."""
    from infoxlm_keras.reports.plots.style import COLORS, new_figure, save_figure

    figure = new_figure(7, 0.5 * len(rows) + 1.2)
    axes = figure.add_subplot()
    for number, (_, found) in enumerate(rows.values()):
        axes.barh(number, statistics.mean(found["best"]), color=COLORS[0], alpha=0.6)
        axes.plot(found["best"], [number] * len(found["best"]), "k.", markersize=5)
    axes.set_yticks(range(len(rows)), [f"{name}: {meaning}" for name, (meaning, _) in rows.items()])
    axes.invert_yaxis()
    axes.set_xlabel("retrieval accuracy in %, best layer")
    save_figure(figure, path)


if __name__ == "__main__":
    run_command(main)
