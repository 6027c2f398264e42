"""Fewer layers, or less width: size, speed and retrieval of a teacher, and of smaller models with and without it.

    python benchmarks/smaller_encoders.py --data runs/demo --output_dir runs/smaller
    python benchmarks/smaller_encoders.py --data runs/demo --output_dir runs/narrower --teacher runs/demo/model \
        --layers 1 --width 64

--data is the directory of `make demo`; its records/ and corpus/heldout/ are used. A model of --teacher_layers layers
is trained for --teacher_steps by --config, or --teacher names one. All layers above its universal one are dropped
first, which leaves its vector as it is. This is the teacher of the others:

  top, even     --layers of its layers, by `infoxlm drop-layers --strategy`
  contrast      even, trained for --steps by MMLM and XLCO
  distilled     even, trained for as many steps by MMLM, XLCO and distillation
  teacher only  even, trained by distillation alone (--set mmlm.weight=0): no translation pairs

With --width the last three start from random weights instead, and there is no top and even. The trained ones have
their vector at the last layer. Accuracy is that of `infoxlm evaluate-retrieval` at a model's vector, in %, the mean
over languages and both directions. Speed is that of `PretrainedModel.encode` on the held-out sentences of all
languages; the models take turns, and the medians of --rounds are shown. What is finished is not repeated.

Writes to OUTPUT_DIR: smaller_encoders.json, and a directory a model.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import rich
import rich.table

from infoxlm_keras.command_line import argument_parser, print_settings, run_command
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import accuracy_at
from infoxlm_keras.files import write_json

TASKS = {
    "contrast": ["--tasks", "mmlm,xlco"],
    "distilled": ["--tasks", "mmlm,xlco,distillation"],
    "teacher only": ["--tasks", "mmlm,distillation", "--set", "mmlm.weight=0"],
}


def main(arguments=None):
    parser = argument_parser(__doc__)
    parser.add_argument("--data", type=pathlib.Path, default="runs/demo", help="directory of a demo run")
    parser.add_argument("--output_dir", type=pathlib.Path, default="runs/smaller", help="where everything goes")
    parser.add_argument("--config", default="demo", help="settings of all runs")
    parser.add_argument("--teacher", help="a trained model, with the tokenizer of --data; unset: trained here")
    parser.add_argument("--teacher_layers", type=int, default=6)
    parser.add_argument("--teacher_steps", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=2, help="layers of the smaller encoders")
    parser.add_argument("--width", type=int, help="width of the smaller encoders; unset: the teacher's")
    parser.add_argument("--steps", type=int, default=300, help="optimizer updates of what is trained on")
    parser.add_argument("--distillation_weight", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=7, help="how often speed is measured")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting")
    options = parser.parse_args(arguments)
    print_settings("smaller encoders", vars(options))
    whole = pathlib.Path(options.teacher) if options.teacher else trained_teacher(options)
    with open(whole / "infoxlm.json", encoding="utf-8") as file:
        universal = json.load(file)["universal_layer"]
    teacher = dropped(options, "teacher", whole, universal, "top")
    models = {f"whole, vector at {universal}": whole, "teacher": teacher}
    for strategy in () if options.width else ("top", "even"):
        models[strategy] = dropped(options, strategy, teacher, options.layers, strategy)
    for name in TASKS:
        models[name] = trained_on(options, name, models.get("even"), teacher)
    report(options, models)


def trained_teacher(options):
    """The preset of the teacher, trained from random weights."""
    directory = options.output_dir / "whole"
    layers, steps = options.teacher_layers, options.teacher_steps
    settings = [f"model.num_layers={layers}", f"xlco.universal_layer={max(1, round(2 * layers / 3))}"]
    return pretrained(options, directory, ["--steps", steps], settings)


def trained_on(options, name, start, teacher):
    """The preset of `start`, or of a narrower model with random weights, after more steps of the tasks `name`."""
    settings = [f"distillation.teacher={teacher}", f"distillation.weight={options.distillation_weight}"]
    settings.append(f"xlco.universal_layer={options.layers}")
    begin = []
    if start is None:
        width = options.width
        settings += [f"model.num_layers={options.layers}", f"model.hidden_dim={width}"]
        settings.append(f"model.intermediate_dim={4 * width}")
    else:
        begin, settings = ["--init", start], [*settings, "optimizer.learning_rate=0.001"]
    directory = options.output_dir / name.replace(" ", "_")
    return pretrained(options, directory, ["--steps", options.steps, *begin, *TASKS[name]], settings)


def pretrained(options, directory, arguments, settings):
    if not (directory / "pretraining.json").exists():
        settings = [*settings, *options.set]
        command("pretrain", "--config", options.config, "--data_dir", options.data / "records", "--output_dir",
                directory, *arguments, *(part for setting in settings for part in ("--set", setting)))  # fmt: skip
    return directory / "model"


def dropped(options, name, model, layers, strategy):
    """The preset of `model` with as many `layers`."""
    directory = options.output_dir / f"{name}_layers"
    if not directory.exists():
        command("drop-layers", "--model", model, "--layers", layers, "--strategy", strategy, "--output_dir", directory)
    return directory


def retrieval(options, name, model):
    """Accuracy in % at the model's vector."""
    result = options.output_dir / f"retrieval_{name.replace(' ', '_').replace(',', '')}.json"
    if not result.exists():
        command("evaluate-retrieval", "--model", model, "--pairs", options.data / "corpus" / "heldout",
                "--output", result)  # fmt: skip
    with open(model / "infoxlm.json", encoding="utf-8") as file:
        layer = json.load(file)["universal_layer"]
    return 100 * accuracy_at(json.loads(result.read_text()), layer)["average"]


def command(name, *arguments):
    line = [sys.executable, "-m", "infoxlm_keras", name, *map(str, arguments)]
    print("$ infoxlm " + " ".join(line[3:]), flush=True)
    if subprocess.run(line, check=False).returncode:
        raise InputError(f"{name} failed; its message is above")


def report(options, models):
    """Measures, prints the table and writes the numbers."""
    accuracies = {name: retrieval(options, name, model) for name, model in models.items()}
    speeds, sizes = measured(options, models)
    columns = ("", "layers", "million weights", "of them in layers", "sentences/s", "retrieval, %")
    table = rich.table.Table(title=f"{options.steps} steps of those that are trained on")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for name in models:
        layers, weights, in_layers = sizes[name]
        numbers = (f"{weights / 1e6:.2f}", f"{in_layers / 1e6:.2f}", f"{speeds[name]:,.0f}", f"{accuracies[name]:.1f}")
        table.add_row(name, str(layers), *numbers)
    rich.print(table)
    content = {name: [*sizes[name], speeds[name], accuracies[name]] for name in models}
    write_json(options.output_dir / "smaller_encoders.json", {"columns": columns[1:], "models": content})


def measured(options, models):
    """(dict of name to sentences a second, dict of name to (layers, weights, weights in the layers))."""
    from infoxlm_keras.evaluation import read_pair_sets
    from infoxlm_keras.pretrained import load_pretrained

    pair_sets = read_pair_sets([options.data / "corpus" / "heldout"])
    texts = [text for pairs in pair_sets for text in pairs.targets]
    loaded = {name: load_pretrained(model) for name, model in models.items()}
    seconds = {name: [] for name in models}
    for model in loaded.values():
        model.encode(texts, progress=False)  # traces the shapes
    for _ in range(options.rounds):
        for name, model in loaded.items():
            start = time.perf_counter()
            model.encode(texts, progress=False)
            seconds[name].append(time.perf_counter() - start)
    sizes = {}
    for name, model in loaded.items():
        in_layers = sum(layer.count_params() for layer in model.backbone.transformer_layers)
        sizes[name] = (model.backbone.num_layers, model.masked_lm.count_params(), in_layers)
    return {name: len(texts) / statistics.median(part) for name, part in seconds.items()}, sizes


if __name__ == "__main__":
    run_command(main)
