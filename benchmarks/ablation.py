"""What each part of the method gives: retrieval with and without it, on the demo's text, several seeds each.

    python benchmarks/ablation.py --data runs/demo --output_dir runs/ablation
    python benchmarks/ablation.py --data runs/demo --output_dir runs/ablation --variants full,no_mixup --seeds 1,2

--data is the directory of `make demo` (its records/ and corpus/heldout/ are used). Every run has the same number of
steps and the same samples of each task a step, so a variant with fewer tasks costs, and sees, less. Accuracy is the
mean over languages and both directions, mean pooling: at the layer that the contrast is on in the full method, at the
last layer, and at each run's best layer (chosen on these very pairs). A finished run is not
repeated: after an interruption, give the same command again.

Writes to OUTPUT_DIR: ablation.json (all numbers), ablation.md (the table), ablation.png, and a directory a run.
"""

import pathlib
import statistics
import subprocess
import sys

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.config import load_config
from infoxlm_keras.errors import InputError
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
    parser.add_argument("--config", default="recipes/configs/tiny.yaml", help="settings of the full method")
    parser.add_argument("--steps", type=int, default=700, help="optimizer updates of every run")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument("--variants", help="comma-separated; unset: all of full, no_mixup, last_layer, no_xlco, mmlm")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    num_layers = config.model.encoder_size.num_layers
    known = variants(num_layers)
    chosen = options.variants.split(",") if options.variants else list(known)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise InputError(f"--variants {unknown[0]}: must be of {', '.join(known)}")
    print_settings("ablation", vars(options))
    # Seed by seed, so that an interrupted comparison has every variant.
    results = {name: [] for name in chosen}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        for name in chosen:
            results[name].append(run(known[name][1], options, name, seed))
    layer = config.xlco.universal_layer or default_universal_layer(num_layers)
    rows = {name: (known[name][0], summarize(results[name], layer, num_layers)) for name in chosen}
    report(rows, options, layer, num_layers)


def run(settings, options, name, seed):
    """The `retrieval.json` of one variant and seed, trained and evaluated unless that is done."""
    directory = options.output_dir / f"{name}-{seed}"
    retrieval = directory / "retrieval.json"
    if not retrieval.exists():
        command("pretrain", "--config", options.config, "--data_dir", options.data / "records", "--output_dir",
                directory, "--steps", options.steps, "--set", f"seed={seed}", *settings)  # fmt: skip
        command("evaluate_retrieval", "--model", directory / "model", "--pairs", options.data / "corpus/heldout",
                "--pooling", "mean", "--output", retrieval)  # fmt: skip
    from infoxlm_keras.reports.retrieval_tables import read_retrieval

    return read_retrieval(retrieval)


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


def report(rows, options, layer, last):
    """Writes and prints the table: mean and range over seeds."""
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
    values = {name: {"meaning": meaning, **found} for name, (meaning, found) in rows.items()}
    write_json(options.output_dir / "ablation.json", {"steps": options.steps, "seeds": options.seeds, **values})
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
