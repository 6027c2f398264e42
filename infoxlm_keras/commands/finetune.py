"""`infoxlm finetune-<name>`: trains one of the heads of `finetuning/registry.py` and measures it in every language."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead, Samples
    from infoxlm_keras.finetuning.loop import FineTuningSettings

with quiet_imports():
    from infoxlm_keras.finetuning.loop import transfer_gap
    from infoxlm_keras.finetuning.registry import head_class
    from infoxlm_keras.finetuning.run_output import (
        RESULTS,
        check_output,
        check_space,
        lost_when_interrupted,
        result_files,
        save_model,
        the_model_stays,
    )
    from infoxlm_keras.interruption import termination_raises
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.plots import accuracy_by_language, save_figure


# What an epoch's record holds besides the numbers of training.
NOT_OF_TRAINING = ("epoch", "development", "development_mean")


def command(name: str) -> Callable[..., None]:
    """The function `main(arguments=None)` of the command of the head `name`."""
    return functools.partial(main, name)


@with_local_paths(inputs=("train", "dev", "test"), outputs=("output_dir",))
def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs the command of the head `name` with `arguments` (list of str; None: those of the process)."""
    kind = head_class(name)
    options = parse(kind, arguments)
    settings = kind.Settings(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(kind.Settings)}
    )
    output = pathlib.Path(options.output_dir)
    check_output(output, options.overwrite, result_files(kind))
    check_kept_apart({"--train": options.train, "--dev": options.dev, "--test": options.test})
    training = kind.read(options.train, options.train_languages, options.max_train_samples)
    development, test = (kind.read(paths) if paths else [] for paths in (options.dev, options.test))
    if not development and not test:
        raise InputError("--dev and --test: give at least one of them; there is nothing to measure")
    head = kind(training, development, test)
    print_settings(
        f"finetune_{name}",
        {
            **dataclasses.asdict(settings),
            "model": options.model,
            **{
                key: ", ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in head.facts().items()
            },
            "training": describe(training),
            "development": describe(development),
            "test": describe(test),
            "output_dir": output,
        },
    )
    for parts in (training, development, test):
        print_left_out(parts)
    for line in head.notes():
        print(line)
    sys.stdout.flush()
    with termination_raises():
        with lost_when_interrupted(output):
            head.build(load_pretrained(options.model), settings)
            check_space(output, head.model)
            epochs = head.train(settings)
        save_model(head, output, options.overwrite)
        with the_model_stays(output / "model"):
            measure(head, options, settings, epochs)


def measure(
    head: FineTuningHead, options: argparse.Namespace, settings: FineTuningSettings, epochs: list[dict[str, Any]]
) -> None:
    """Measures the trained head, writes the results and prints them."""
    output, languages = pathlib.Path(options.output_dir), [part.language for part in head.training]
    for epoch in epochs:
        shown = f"  development {epoch['development_mean']:.4f}" if head.development else ""
        numbers = [f"{name} {value:.4f}" for name, value in epoch.items() if name not in NOT_OF_TRAINING]
        print("  ".join([f"epoch {epoch['epoch']}", *numbers]) + shown)
    measured = head.test or head.development
    with progress_bar("Measuring", sum(map(len, measured)), "samples") as advance:
        scores = head.measure(measured, options.batch_size, lambda samples: advance(samples, samples))
    data = {"training": head.training, "development": head.development, "test": head.test}
    chosen = scores[head.metric]
    results = {
        "model": readable(options.model),
        "settings": dataclasses.asdict(settings),
        **head.facts(),
        "training": {part.language: len(part) for part in head.training},
        "epochs": epochs,
        "measured_on": "test" if head.test else "development (which chose the epoch)",
        "samples": {part.language: len(part) for part in measured},
        "left_out": {
            name: {readable(file): reasons for file, reasons in left_out(parts).items()}
            for name, parts in data.items()
        },
        **scores,
        "mean": sum(chosen.values()) / len(chosen),
        "transfer_gap": transfer_gap(chosen, languages),
    }
    try:
        write_json(output / RESULTS, results)
    finally:
        report(results, list(scores), head.metric)
    plot = f"{head.metric}.png"
    save_figure(accuracy_by_language(chosen, languages, head.chance(), head.metric), output / plot)
    print(f"wrote {output}/model, {RESULTS} and {plot}")


def parse(kind: type[FineTuningHead], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command of `kind`, a `FineTuningHead` class."""
    defaults = kind.Settings()
    parser = argument_parser(kind.description)
    parser.add_argument("--model", required=True, help="model to fine-tune: preset, Hugging Face directory or id")
    parser.add_argument("--train", required=True, nargs="+", metavar="FILE", help=f"{kind.samples} for training")
    parser.add_argument("--dev", nargs="+", metavar="FILE", help=f"{kind.samples} that select the best epoch")
    parser.add_argument("--test", nargs="+", metavar="FILE", help=f"{kind.samples} whose {kind.metric} is reported")
    parser.add_argument("--output_dir", required=True, help="folder for the model and the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in OUTPUT_DIR")
    parser.add_argument("--train_languages", nargs="+", metavar="LANG", help="languages of --train to use; unset: all")
    parser.add_argument("--max_train_samples", type=int, metavar="N", help="use only the first N of each language")
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help="passes over --train")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="samples per update")
    parser.add_argument("--learning_rate", type=float, default=defaults.learning_rate, help="peak learning rate")
    parser.add_argument(
        "--warmup_share",
        type=float,
        default=defaults.warmup_share,
        help="share of the updates in which the learning rate rises to its peak",
    )
    parser.add_argument(
        "--weight_decay", type=float, default=defaults.weight_decay, help="decoupled weight decay (AdamW)"
    )
    parser.add_argument("--dropout", type=float, default=defaults.dropout, help="dropout rate of encoder and head")
    parser.add_argument(
        "--max_length", type=int, help="maximum tokens per sample; unset: 128, or all positions if fewer"
    )
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="seed of the head's weights, dropout and the order of samples"
    )
    kind.add_arguments(parser)
    return parser.parse_args(arguments)


def check_kept_apart(options: Mapping[str, Sequence[PathLike] | None]) -> None:
    """Raises `InputError` if two options name the same file, by any path: a score on seen samples says nothing.

    Args:
        options: dict of an option's name to its files, or None.
    """
    seen: dict[object, tuple[str, PathLike]] = {}
    for option, paths in options.items():
        for path in paths or ():
            try:
                status = os.stat(path)
            except (OSError, ValueError):
                continue  # reading it says what is wrong
            other, its_path = seen.setdefault((status.st_dev, status.st_ino), (option, path))
            if other != option:
                known = "" if str(its_path) == str(path) else f" (there: {its_path})"
                raise InputError(
                    f"{path}: is given in {other} and in {option}{known}; give each file to one of them, since scores "
                    "are measured on samples that the model has not seen"
                )


def describe(parts: Sequence[Samples]) -> str:
    """One line on what was read."""
    counts = ", ".join(f"{part.language} {len(part):,}" for part in parts) or "none"
    rows = sum(part.left_out for part in parts)
    return f"{counts} (left out, without label or text: {rows:,})" if rows else counts


def left_out(parts: Iterable[Samples]) -> dict[str, dict[str, int]]:
    """{file: {reason: rows}} over all languages."""
    files: dict[str, dict[str, int]] = {}
    for part in parts:
        for file, reasons in part.reasons.items():
            counts = files.setdefault(file, {})
            for reason, rows in reasons.items():
                counts[reason] = counts.get(reason, 0) + rows
    return files


def print_left_out(parts: Iterable[Samples]) -> None:
    """Prints a line for each file of which rows were left out."""
    for file, reasons in left_out(parts).items():
        counts = ", ".join(f"{rows:,} with {reason}" for reason, rows in reasons.items())
        print(f"left out of {file}: {counts}")


def readable(path: PathLike) -> str:
    """A path for JSON: bytes of its name that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def report(results: Mapping[str, Any], scores: Sequence[str], chosen: str) -> None:
    """Prints the table: a row a language, their mean, and the transfer gap.

    Args:
        results: dict, the content of results.json.
        scores: names of the scores, columns of the table.
        chosen: the one of them of which mean and transfer gap are given.
    """
    title = f"{chosen[0].upper()}{chosen[1:]} in %, {results['measured_on']}"
    table = rich.table.Table(title=title, box=rich.box.SIMPLE)
    for name in ("language", "samples", *scores):
        table.add_column(name, justify="left" if name == "language" else "right")
    names = list(results[chosen])
    for name in names:
        cells = [f"{100 * results[score][name]:.1f}" for score in scores]
        table.add_row(name, f"{results['samples'][name]:,}", *cells, end_section=name == names[-1])
    summaries = {"mean": results["mean"], "transfer gap": results["transfer_gap"]}
    for name, value in summaries.items():
        if value is not None:
            table.add_row(name, "", *(f"{100 * value:.1f}" if score == chosen else "" for score in scores))
    rich.print(table)
