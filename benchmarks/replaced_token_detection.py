"""Replaced-token detection beside masked LM: what it learns, and what a step costs, several seeds each.

    python benchmarks/replaced_token_detection.py --records runs/demo/records --output_dir runs/replaced \
        --steps 700 --seeds 1,2,3 --pairs runs/demo/corpus/heldout

The runs of a seed differ in their tasks alone: MRTD and TRTD, or MMLM and TLM, with as many samples of each. Reported
are the accuracy of the detection against the share of tokens that are original, which a constant answer reaches;
seconds and model FLOPs a step, all of the last interval; and with --pairs the retrieval of the trained models, mean
pooling, at each one's best layer (chosen on these very pairs). A finished run is not repeated.

Writes to OUTPUT_DIR: replaced_tokens.json, and a directory a run.
"""

import csv
import json
import pathlib
import statistics
import subprocess
import sys

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json

VARIANTS = {"masked": "mmlm,tlm", "replaced": "mrtd,trtd"}


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--records", required=True, help="directory that holds mmlm/ and bitext/")
    parser.add_argument("--output_dir", type=pathlib.Path, required=True, help="where everything goes")
    parser.add_argument("--config", default="tiny", help="settings of all runs")
    parser.add_argument("--pairs", help="held-out pairs, as infoxlm evaluate-retrieval takes them")
    parser.add_argument("--steps", type=int, default=700, help="optimizer updates of every run")
    parser.add_argument("--replaced_steps", type=int, help="those of MRTD and TRTD, for equal time; unset: --steps")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument("--batch_size", type=int, default=8, help="blocks, and pairs, a step")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    options = parser.parse_args(arguments)
    print_settings("replaced tokens", vars(options))
    found = {name: [] for name in VARIANTS}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        for name in VARIANTS:
            found[name].append(measured(options, name, seed))
    report(found, options)


def measured(options, name, seed):
    """dict of numbers of a run, made unless it is finished."""
    directory = options.output_dir / f"{name}-{seed}"
    if not (directory / "pretraining.json").exists():
        tasks = VARIANTS[name].split(",")
        settings = ["optimizer.warmup_steps=20", *options.set, f"seed={seed}"]
        settings += [f"{task}.batch_size={options.batch_size}" for task in tasks]
        command("pretrain", "--config", options.config, "--data_dir", options.records, "--output_dir", directory,
                "--tasks", VARIANTS[name], "--steps", steps_of(options, name),
                *(part for setting in settings for part in ("--set", setting)))  # fmt: skip
    with open(directory / "history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    numbers = {key: float(value) for key, value in last.items() if value}
    seconds = numbers["tokens_per_step"] / numbers["tokens_per_second"]
    return {**numbers, "seconds_per_step": seconds, "retrieval": retrieval(options, directory)}


def steps_of(options, name):
    return options.replaced_steps if name == "replaced" and options.replaced_steps else options.steps


def retrieval(options, directory):
    """Accuracy in % at the best layer, or None."""
    if options.pairs is None:
        return None
    result = directory / "retrieval.json"
    if not result.exists():
        command("evaluate-retrieval", "--model", directory / "model", "--pairs", options.pairs, "--pooling", "mean",
                "--output", result)  # fmt: skip
    mean = json.loads(result.read_text())["mean"]
    both = zip(mean["source_to_target"], mean["target_to_source"], strict=True)
    return max(50 * (forward + backward) for forward, backward in both)


def command(name, *arguments):
    line = [sys.executable, "-m", "infoxlm_keras", name, *map(str, arguments)]
    print("$ infoxlm " + " ".join(line[3:]), flush=True)
    if subprocess.run(line, check=False).returncode:
        raise InputError(f"{name} failed; its message is above")


def report(found, options):
    """Prints two tables and writes the numbers."""
    detection = rich.table.Table(title=f"after {steps_of(options, 'replaced')} steps, mean ± half of the range, in %")
    for column in ("", "detection", "originals", "generator"):
        detection.add_column(column, justify="right" if column else "left")
    for task in VARIANTS["replaced"].split(","):
        columns = [f"{task}_{name}" for name in ("accuracy", "original_share", "generator_accuracy")]
        detection.add_row(task, *(spread([100 * run[name] for run in found["replaced"]]) for name in columns))
    rich.print(detection)
    cost = rich.table.Table(title="a step")
    for column in ("", "steps", "seconds", "GFLOP", "best layer's retrieval in %"):
        cost.add_column(column, justify="right" if column else "left")
    for name, runs in found.items():
        seconds = statistics.median(run["seconds_per_step"] for run in runs)
        accuracy = spread([run["retrieval"] for run in runs]) if options.pairs else "not measured"
        gflop = f"{1000 * runs[0]['tflop_per_step']:.2f}"
        cost.add_row(VARIANTS[name], f"{steps_of(options, name):,}", f"{seconds:.3f}", gflop, accuracy)
    rich.print(cost)
    steps = {name: steps_of(options, name) for name in VARIANTS}
    write_json(options.output_dir / "replaced_tokens.json", {"steps": steps, "seeds": options.seeds, **found})


def spread(values):
    return f"{statistics.mean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}"


if __name__ == "__main__":
    run_command(main)
