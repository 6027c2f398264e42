"""A sentence encoder tuned by in-batch contrast, against the model before, and against XLCO for the same time.

    python benchmarks/sentence_encoder.py --model runs/demo/model --bitext runs/demo/corpus/bitext \
        --records runs/demo/records --pairs runs/demo/corpus/heldout --output_dir runs/sentence_encoder

Both start from --model. `infoxlm finetune-embedding` trains on pairs of --bitext, `infoxlm pretrain --tasks xlco` on
--records, for as many seconds of training; then vectors of --pairs are compared by cosine, as each model gives them,
in both directions. --dimensions are trained as shorter vectors, and measured for all models. Several seeds; the model
before has none. --tatoeba is a second set of pairs. A finished run is not repeated.

Writes to OUTPUT_DIR: sentence_encoder.json, and a directory a run.
"""

import csv
import pathlib
import statistics
import subprocess
import sys

import numpy as np
import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="where both start")
    parser.add_argument("--bitext", required=True, help="training pairs, text")
    parser.add_argument("--records", required=True, help="the same pairs as records: a directory that holds bitext/")
    parser.add_argument("--config", default="demo", help="settings of XLCO")
    parser.add_argument("--pairs", required=True, help="held-out pairs")
    parser.add_argument("--tatoeba", nargs="+", help="further held-out pairs")
    parser.add_argument("--output_dir", type=pathlib.Path, required=True, help="where everything goes")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument("--max_train_samples", type=int, default=4000, help="pairs of each language")
    parser.add_argument("--batch_size", type=int, default=512, help="pairs an update, for finetune-embedding")
    parser.add_argument("--learning_rate", type=float, default=1e-3, help="of both")
    parser.add_argument("--max_length", type=int, default=64, help="tokens of a text, for finetune-embedding")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[64, 32], help="shorter vectors")
    options = parser.parse_args(arguments)
    print_settings("sentence encoder", vars(options))
    results = {"before": [measured(options, options.model)], "XLCO": [], "finetune-embedding": []}
    seconds = {name: [] for name in results}
    for seed in options.seeds.split(","):
        tuned, xlco = (options.output_dir / f"{name}-{seed}" for name in ("tuned", "xlco"))
        if not (tuned / "results.json").exists():
            command("finetune-embedding", "--model", options.model, "--train", options.bitext, "--dev", options.pairs,
                    "--output_dir", tuned, "--seed", seed, "--batch_size", options.batch_size, "--max_length",
                    options.max_length, "--learning_rate", options.learning_rate, "--max_train_samples",
                    options.max_train_samples, "--dimensions", *options.dimensions)  # fmt: skip
        (history,) = tuned.glob("runs/*/history.csv")
        budget = training_seconds(history)
        if not (xlco / "pretraining.json").exists():
            trial = options.output_dir / "trial"
            if not (trial / "pretraining.json").exists():
                pretrain(options, trial, 1, 100)
            # The first interval compiles.
            rate = training_seconds(trial / "history.csv", last=True) / 50
            pretrain(options, xlco, seed, max(100, round(budget / rate)))
        seconds["finetune-embedding"].append(budget)
        seconds["XLCO"].append(training_seconds(xlco / "history.csv"))
        results["finetune-embedding"].append(measured(options, tuned / "model"))
        results["XLCO"].append(measured(options, xlco / "model"))
    report(results, seconds, options)


def pretrain(options, directory, seed, steps):
    settings = [f"seed={seed}", f"optimizer.learning_rate={options.learning_rate}", f"log_every={min(steps, 50)}"]
    command("pretrain", "--config", options.config, "--init", options.model, "--data_dir", options.records,
            "--output_dir", directory, "--tasks", "xlco", "--steps", steps,
            *(part for setting in settings for part in ("--set", setting)))  # fmt: skip


def training_seconds(history, last=False):
    """Seconds of training by a history.csv, or of its last interval."""
    with open(history, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("tokens_per_second")]
    steps = [int(row["step"]) for row in rows]
    passed = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    seconds = [
        count * float(row["tokens_per_step"]) / float(row["tokens_per_second"])
        for count, row in zip(passed, rows, strict=True)
    ]
    return seconds[-1] if last else sum(seconds)


def measured(options, model):
    """{set of pairs: {dimensions: accuracy in %}}, means of languages and directions, by the model's own vectors."""
    with quiet_imports():
        from infoxlm_keras.evaluation import read_pair_sets
        from infoxlm_keras.evaluation.retrieval import retrieval_accuracy
        from infoxlm_keras.pretrained import load_pretrained

    encode = load_pretrained(model).encode
    found = {}
    for name, paths in (("pairs", [options.pairs]), ("tatoeba", options.tatoeba)):
        if not paths:
            continue
        by_width = {}
        for pair_set in read_pair_sets(paths):
            sources, targets = (encode(list(side), progress=False) for side in (pair_set.sources, pair_set.targets))
            for width in (sources.shape[1], *options.dimensions):
                both = retrieval_accuracy(sources[:, :width], targets[:, :width])
                by_width.setdefault(width, []).append(100 * np.mean(both))
        found[name] = {width: float(np.mean(values)) for width, values in by_width.items()}
    return found


def command(name, *arguments):
    line = [sys.executable, "-m", "infoxlm_keras", name, *map(str, arguments)]
    print("$ infoxlm " + " ".join(line[3:]), flush=True)
    if subprocess.run(line, check=False).returncode:
        raise InputError(f"{name} failed; its message is above")


def report(results, seconds, options):
    sets = list(results["before"][0])
    table = rich.table.Table(title="retrieval accuracy in %, mean ± half of the range over seeds")
    for column in ("", "seconds", *(f"{name}, {width}" for name in sets for width in results["before"][0][name])):
        table.add_column(column, justify="right" if column else "left")
    for name, runs in results.items():
        cells = [spread([run[pairs][width] for run in runs]) for pairs in sets for width in runs[0][pairs]]
        table.add_row(name, spread(seconds[name]) if seconds[name] else "", *cells)
    rich.print(table)
    write_json(options.output_dir / "sentence_encoder.json", {"seconds": seconds, "accuracy": results})


def spread(values):
    deviation = f" ± {(max(values) - min(values)) / 2:.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    run_command(main)
