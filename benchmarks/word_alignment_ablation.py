"""What word alignment adds to TLM: alignment error rate with and without `dwa` from equal weights, by several seeds.

    python benchmarks/word_alignment_ablation.py --records runs/demo/records --gold alignments/en-fr \
        --output_dir runs/alignment --steps 700 --seeds 1,2,3

--records is what the builders wrote, --gold one or more folders as `infoxlm evaluate-alignment --data` takes them. The
runs of a seed differ in their tasks alone: MMLM and TLM, or these and DWA. "before" is the model that both start from:
random weights, or --init. Error rates are those of optimal transport at the layer that is aligned, and at each model's
best layer (chosen on these very sentences). The difference at the aligned layer is paired by seed and sentence; its
interval is by the bootstrap over seeds and sentences. A finished run is not repeated.

Writes to OUTPUT_DIR: word_alignment.json, and a directory a run.
"""

import csv
import json
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
from infoxlm_keras.files import write_json
from infoxlm_keras.tasks.word_alignment import default_alignment_layer

VARIANTS = {"tlm": "mmlm,tlm", "dwa": "mmlm,tlm,dwa"}


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--records", required=True, help="directory that holds mmlm/ and bitext/")
    parser.add_argument("--gold", nargs="+", required=True, help="folders with gold links")
    parser.add_argument("--output_dir", type=pathlib.Path, required=True, help="where everything goes")
    parser.add_argument("--config", default="tiny", help="settings of all runs")
    parser.add_argument("--init", help="model that all runs continue; {seed} in it becomes the seed of the run")
    parser.add_argument("--steps", type=int, default=700, help="optimizer updates of every run")
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    options = parser.parse_args(arguments)
    print_settings("word alignment", vars(options))
    config = load_config(options.config, options.set)
    layer = config.dwa.alignment_layer or default_alignment_layer(config.model.encoder_size.num_layers)
    found = {name: [] for name in ("before", *VARIANTS)}
    counts = {name: [] for name in VARIANTS}
    seconds = {name: [] for name in VARIANTS}
    for seed in [int(seed) for seed in options.seeds.split(",")]:
        for name in VARIANTS:
            directory = trained(options, name, seed)
            seconds[name].append(cost(directory))
            if name == "tlm":
                found["before"].append(error_rates(options, directory, "initial_model"))
            found[name].append(error_rates(options, directory, "model"))
            counts[name].append(sentence_counts(options, directory, layer))
    report(found, seconds, layer, difference(*(np.stack(counts[name]) for name in ("dwa", "tlm"))), options)


def trained(options, name, seed):
    """The directory of a run that is finished."""
    directory = options.output_dir / f"{name}-{seed}"
    if not (directory / "pretraining.json").exists():
        settings = ["optimizer.warmup_steps=20", *options.set, f"seed={seed}", "save_initial_model=true"]
        init = ["--init", options.init.replace("{seed}", str(seed))] if options.init else []
        command("pretrain", "--config", options.config, "--data_dir", options.records, "--output_dir", directory,
                "--tasks", VARIANTS[name], "--steps", options.steps, *init,
                *(part for setting in settings for part in ("--set", setting)))  # fmt: skip
    return directory


def error_rates(options, directory, model):
    """AER in % by layer, the mean over the sets."""
    result = directory / f"alignment_{model}.json"
    if not result.exists():
        command("evaluate-alignment", "--model", directory / model, "--data", *options.gold, "--methods",
                "optimal_transport", "--output", result)  # fmt: skip
    return [100 * value for value in json.loads(result.read_text())["mean"]["optimal_transport"]["aer"]]


def sentence_counts(options, directory, layer):
    """int [sentences, 4]: |A|, |S|, |A & S| and |A & P| of each sentence of all sets, at `layer`."""
    path = directory / f"counts_{layer}.npy"
    if not path.exists():
        from infoxlm_keras.evaluation.alignment.aligner import WordAligner
        from infoxlm_keras.evaluation.alignment.gold import read_alignment_sets
        from infoxlm_keras.evaluation.alignment.scores import AlignmentCounts
        from infoxlm_keras.pretrained import load_pretrained

        model = load_pretrained(directory / "model")
        aligner = WordAligner(model.backbone, model.tokenizer, [layer])
        rows = []
        for gold in read_alignment_sets(options.gold):
            pairs = list(zip(gold.sources, gold.targets, strict=True))
            of_set = [None] * len(pairs)
            for number, links in aligner(pairs, ["optimal_transport"]):
                count = AlignmentCounts()
                count.add(links["optimal_transport"][0], gold.sure[number], gold.possible[number])
                of_set[number] = (count.links, count.sure, count.sure_hits, count.possible_hits)
            rows += of_set
        np.save(path, rows)
    return np.load(path)


def difference(one, other, draws=2000):
    """The error rate of `one` minus that of `other` (int [seeds, sentences, 4]), and its 95% interval, in points."""

    def rate(counts):
        links, sure, sure_hits, possible_hits = counts.reshape(-1, 4).sum(axis=0)
        return 100 * (1 - (sure_hits + possible_hits) / (links + sure))

    generator = np.random.default_rng(0)
    seeds, sentences = one.shape[:2]
    drawn = []
    for _ in range(draws):
        rows = np.ix_(generator.integers(seeds, size=seeds), generator.integers(sentences, size=sentences))
        drawn.append(rate(one[rows]) - rate(other[rows]))
    lower, upper = np.quantile(drawn, [0.025, 0.975])
    return {"difference": rate(one) - rate(other), "lower": lower, "upper": upper}


def cost(directory):
    """(tokens a second, model TFLOP a step) of the run's last interval."""
    with open(directory / "history.csv", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return float(last["tokens_per_second"]), float(last["tflop_per_step"])


def command(name, *arguments):
    line = [sys.executable, "-m", "infoxlm_keras", name, *map(str, arguments)]
    print("$ infoxlm " + " ".join(line[3:]), flush=True)
    if subprocess.run(line, check=False).returncode:
        raise InputError(f"{name} failed; its message is above")


def report(found, seconds, layer, against, options):
    """Prints the table and the difference, and writes the numbers."""
    table = rich.table.Table(title=f"alignment error rate in %, mean ± half of the range, {options.steps} steps")
    for number, column in enumerate(("", f"layer {layer}", "best layer", "tokens/s", "GFLOP a step")):
        table.add_column(column, justify="right" if number else "left")
    for name, rates in found.items():
        at_layer, best = [each[layer] for each in rates], [min(each) for each in rates]
        costs = [statistics.mean(part) for part in zip(*seconds[name], strict=True)] if name in seconds else None
        more = [f"{costs[0]:,.0f}", f"{1000 * costs[1]:.2f}"] if costs else ["", ""]
        table.add_row(name, *(spread(values) for values in (at_layer, best)), *more)
    rich.print(table)
    against = {name: float(value) for name, value in against.items()}
    print(
        f"dwa minus tlm, layer {layer}: {against['difference']:+.2f} points, 95% interval {against['lower']:+.2f} to "
        f"{against['upper']:+.2f}"
    )
    content = {"steps": options.steps, "seeds": options.seeds, "layer": layer, "aer": found, "cost": seconds}
    content["dwa_minus_tlm"] = against
    write_json(options.output_dir / "word_alignment.json", content)


def spread(values):
    return f"{statistics.mean(values):.1f} ± {(max(values) - min(values)) / 2:.1f}"


if __name__ == "__main__":
    run_command(main)
