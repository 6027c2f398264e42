"""The whole way on real text: corpus -> vocabulary -> TFRecords -> pre-training -> evaluation -> served vectors.

  infoxlm demo --output_dir runs/demo

Each stage is one of the project's commands, printed before it runs, so that you can run them on your own text. A stage
whose output is complete does not run again, and training resumes from its last checkpoint: after an interruption,
repeat the command. To start afresh, remove the output directory.

Writes to OUTPUT_DIR: results.json, plots/ and report.html (see infoxlm report), model/ (KerasHub preset), serving/1/
(SavedModel).
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from infoxlm_keras.command_line import argument_parser, quiet_imports, show_table
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.parser_errors import parsing
from infoxlm_keras.files.text_and_json import read_json, write_json

VOCABULARY_SIZE = 16000
BLOCK_LENGTH = 64
PAIR_LENGTHS = (16, 32, 64)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--output_dir", default="runs/demo", help="folder for all output")
    parser.add_argument("--config", default="demo", help="settings of the pre-training: a name or a file")
    parser.add_argument("--steps", type=int, help="optimizer updates; overrides the configuration")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="override settings; may be repeated"
    )
    options = parser.parse_args(arguments)
    output = pathlib.Path(options.output_dir).resolve()
    timing: dict[str, float] = {}
    for title, command, product in stages(output, options):
        run_stage(title, command, output / product, timing)
    report(output, timing)


def stages(output: pathlib.Path, options: argparse.Namespace) -> list[tuple[str, list[Any], str]]:
    """List of (title, command line, product): the product exists only once the stage is complete."""
    corpus, tokenizer, records = output / "corpus", output / "tokenizer", output / "records"
    pretraining = ["pretrain", "--config", options.config, "--data_dir", records, "--output_dir", output]
    if options.steps is not None:
        pretraining += ["--steps", options.steps, *warm_up(options)]
    # The report compares with the untrained model, which only some configurations keep.
    for setting in (*options.set, "save_initial_model=true"):
        pretraining += ["--set", setting]

    def retrieval(model, name):
        pairs = ["--pairs", corpus / "heldout", "--output", output / f"retrieval_{name}.json"]
        return ["evaluate-retrieval", "--model", output / model, *pairs]

    bitext = ["build-bitext", "--input", corpus / "bitext", "--tokenizer", tokenizer]
    bitext += ["--output_dir", records, "--max_length", PAIR_LENGTHS[-1], "--lengths", *PAIR_LENGTHS]
    monolingual = ["build-monolingual", "--input", corpus / "monolingual", "--tokenizer", tokenizer]
    monolingual += ["--output_dir", records, "--sequence_length", BLOCK_LENGTH]
    vocabulary = ["train-tokenizer", "--input", corpus / "monolingual"]
    vocabulary += ["--vocabulary_size", VOCABULARY_SIZE, "--character_coverage", 0.9999, "--output_dir", tokenizer]
    serving = ["export-savedmodel", "--model", output / "model", "--output_dir", output / "serving"]
    return [
        ("unpack the bundled text", ["unpack-sample-corpus", "--output_dir", corpus], "corpus"),
        ("train a vocabulary", vocabulary, "tokenizer"),
        ("MMLM records", monolingual, "records/mmlm"),
        ("TLM and XLCO records", bitext, "records/bitext"),
        ("pre-train from random weights", pretraining, "pretraining.json"),
        ("held-out retrieval, untrained", retrieval("initial_model", "untrained"), "retrieval_untrained.json"),
        ("held-out retrieval, trained", retrieval("model", "trained"), "retrieval_trained.json"),
        ("export for TF Serving", serving, "serving/1"),
    ]


def warm_up(options: argparse.Namespace) -> list[str]:
    """Arguments of `infoxlm pretrain` that shorten the warm-up where `--steps` is not above the configuration's."""
    with quiet_imports():
        from infoxlm_keras.config import load_config

        config = load_config(options.config, options.set)
    given = any(setting.startswith(("optimizer.warmup_steps=", "optimizer=")) for setting in options.set)
    if given or options.steps > config.optimizer.warmup_steps or options.steps < 1:
        return []
    shorter = options.steps // 10
    print(f"--steps {options.steps}: the warm-up of {config.optimizer.warmup_steps} steps becomes {shorter}")
    return ["--set", f"optimizer.warmup_steps={shorter}"]


def run_stage(title: str, command: Sequence[object], product: pathlib.Path, timing: dict[str, float]) -> None:
    """Runs one command of the project unless its product is there; its seconds go to `timing`."""
    print(f"\n=== {title} ===", flush=True)
    if product.exists():
        print(f"done before: {product}", flush=True)
        return
    words = [str(part) for part in command]
    print("$ infoxlm " + shlex.join(words), flush=True)
    start = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", "infoxlm_keras", *words], check=False).returncode
    if status:
        raise InputError(f"{words[0]} ended with status {status}; its message is above")
    if not product.exists():
        # A training that is stopped by a signal saves, and ends well.
        raise InputError(f"{words[0]} was stopped before {product.name} was complete; repeat the command to continue")
    timing[title] = round(time.perf_counter() - start, 1)


def report(output: pathlib.Path, timing: Mapping[str, float]) -> None:
    """Draws the plots, writes results.json and prints the table."""

    with quiet_imports():
        from infoxlm_keras.reports.history import SPEEDS
        from infoxlm_keras.reports.retrieval_tables import build_results, read_retrieval, results_table

    print("\n=== report ===", flush=True)
    untrained = read_retrieval(output / "retrieval_untrained.json")
    trained = read_retrieval(output / "retrieval_trained.json")
    training = read_json(output / "pretraining.json")
    # The rates depend on the machine, not on the seed, so they are reported with the times.
    with parsing(output / "pretraining.json", "what a training wrote", "remove it, and repeat the command"):
        row = training["last_interval"]
        speed = {name: row.pop(name) for name in SPEEDS if name in row or name == "tokens_per_second"}
    previous = {}
    if (output / "results.json").exists():
        content = read_json(output / "results.json")
        with parsing(output / "results.json", "what the demo wrote", "remove it, and repeat the command"):
            previous = {name: float(seconds) for name, seconds in content["timing"].items()}
    results = build_results(untrained, trained, training, {**previous, **speed, **timing})
    draw_plots(output, trained, results)
    write_json(output / "results.json", results)
    write_page(output)
    show_table(results_table(results))
    total = sum(value for name, value in results["timing"].items() if name not in SPEEDS)
    print(f"results.json, plots/, the report, model/ and serving/1/ are in {output} ({total:,.0f} s in all stages)")


def write_page(output: pathlib.Path) -> None:
    """Writes the report on the run; as Markdown only where the libraries of the page are not installed."""
    from infoxlm_keras.commands.report import NAME, write_report
    from infoxlm_keras.reports.page.html import page_problem

    problem = page_problem()
    for path in write_report([output], (output / NAME).with_suffix(".md" if problem else ".html")):
        print(f"wrote {path}")
    if problem:
        print(f"{NAME} is not written: {problem}")


def draw_plots(output: pathlib.Path, trained: dict[str, Any], results: dict[str, Any]) -> None:
    """The three figures of the report: curves, heat map, and languages projected to two dimensions."""
    from infoxlm_keras.evaluation import TextEmbedder, parallel_sentences, read_pair_sets
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.plots import (
        language_projection,
        read_history,
        retrieval_heatmap,
        save_figure,
        training_curves,
    )

    plots = output / "plots"
    plots.mkdir(exist_ok=True)
    save_figure(training_curves(*read_history(output / "history.csv")), plots / "training.png")
    save_figure(retrieval_heatmap(trained), plots / "retrieval_by_layer.png")
    chosen = ("de", "fi", "el", "ru", "hi", "ja", "zh", "tr")
    pair_sets = [pairs for pairs in read_pair_sets([output / "corpus" / "heldout"]) if pairs.language in chosen]
    texts = parallel_sentences(pair_sets, count=60)
    panels = {}
    for title, name in (("before training", "initial_model"), ("after training", "model")):
        model = load_pretrained(output / name)
        layer = results["retrieval"]["layer"]["untrained" if name == "initial_model" else "trained"]
        embedder = TextEmbedder(model.backbone, model.tokenizer, layers=[layer])
        panels[title] = {language: embedder(sentences)[0] for language, sentences in texts.items()}
    save_figure(language_projection(panels), plots / "languages.png")
