"""Fine-tunes a classifier of texts, or of pairs of texts, and measures it in every language.

Cross-lingual transfer (train on English, measure everywhere) and translate-train-all (train on all translations) are
the same command with other files:

    infoxlm finetune-classification --model runs/mine/model --train multinli.train.en.tsv \\
        --dev xnli.dev.tsv --test xnli.test.tsv --output_dir runs/xnli
    infoxlm finetune-classification --model microsoft/infoxlm-base --train multinli.train.*.tsv ...

Files are tab-separated with a header, CSV, JSON lines or Parquet: XNLI, MultiNLI, PAWS-X as they are distributed, or
your own with the columns label, text (or sentence1, sentence2) and language. Without a column language the file's name
says it (train.en.tsv), or the columns' (sentence1_sw). All files are read and checked before training begins; rows
without a gold label or text are left out and counted. The epoch that is best on --dev (mean over languages) is kept.

Writes to OUTPUT_DIR: model/ (KerasHub preset with labels.json: infoxlm export-savedmodel --head classifier serves
it) as soon as training ends, then results.json and accuracy.png. SIGTERM or Ctrl-C during training leaves nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.classification import TextClassifier
    from infoxlm_keras.text.labelled_texts import LabelledTexts

with quiet_imports():
    from infoxlm_keras.finetuning import (
        ClassificationSettings,
        build_classifier,
        check_labels,
        class_names,
        finetune_classifier,
        read_labelled_texts,
        transfer_gap,
    )
    from infoxlm_keras.finetuning.interruption import termination_raises
    from infoxlm_keras.finetuning.run_output import (
        check_output,
        check_space,
        lost_when_interrupted,
        save_model,
        the_model_stays,
    )
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.plots import accuracy_by_language, save_figure

DEFAULTS = ClassificationSettings()


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    settings = ClassificationSettings(
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(ClassificationSettings)}
    )
    output = pathlib.Path(options.output_dir)
    check_output(output, options.overwrite)
    training = read_labelled_texts(options.train, options.train_languages, options.max_train_samples)
    development, test = (read_labelled_texts(paths) if paths else [] for paths in (options.dev, options.test))
    if not development and not test:
        raise InputError("--dev and --test: give at least one of them; there is nothing to measure")
    check_kinds(training, [*development, *test])
    labels = class_names(training)
    check_labels(labels, [*development, *test])
    print_settings(
        "finetune_classification",
        {
            **dataclasses.asdict(settings),
            "model": options.model,
            "labels": ", ".join(labels),
            "training": describe(training),
            "development": describe(development),
            "test": describe(test),
            "output_dir": output,
        },
    )
    notes(labels, {"training": training, "development": development, "test": test})
    with termination_raises():
        with lost_when_interrupted(output):
            classifier = build_classifier(load_pretrained(options.model), labels, settings)
            check_space(output, classifier.model)
            epochs = finetune_classifier(classifier, training, development, settings)
        save_model(classifier, output, options.overwrite)
        with the_model_stays(output / "model"):
            measure(classifier, options, settings, (training, development, test), epochs)


def measure(
    classifier: TextClassifier,
    options: argparse.Namespace,
    settings: ClassificationSettings,
    data: tuple[list[LabelledTexts], list[LabelledTexts], list[LabelledTexts]],
    epochs: list[dict[str, Any]],
) -> None:
    """Measures the trained classifier, writes the results and prints them."""
    training, development, test = data
    output, languages = pathlib.Path(options.output_dir), [part.language for part in training]
    for epoch in epochs:
        shown = f"  development {epoch['development_mean']:.4f}" if development else ""
        print(f"epoch {epoch['epoch']}  loss {epoch['loss']:.4f}  accuracy {epoch['accuracy']:.4f}{shown}")
    measured = test or development
    with progress_bar("Measuring", sum(map(len, measured)), "samples") as advance:
        accuracies = classifier.accuracies(measured, options.batch_size, lambda samples: advance(samples, samples))
    results = {
        "model": readable(options.model),
        "settings": dataclasses.asdict(settings),
        "labels": classifier.labels,
        "training": {part.language: len(part) for part in training},
        "epochs": epochs,
        "measured_on": "test" if test else "development (which chose the epoch)",
        "samples": {part.language: len(part) for part in measured},
        "left_out": {
            name: {readable(file): reasons for file, reasons in left_out(parts).items()}
            for name, parts in (("training", training), ("development", development), ("test", test))
        },
        "accuracy": accuracies,
        "mean": sum(accuracies.values()) / len(accuracies),
        "transfer_gap": transfer_gap(accuracies, languages),
    }
    try:
        write_json(output / "results.json", results)
    finally:
        report(results)
    save_figure(accuracy_by_language(accuracies, languages, 1 / len(classifier.labels)), output / "accuracy.png")
    print(f"wrote {output}/model, results.json and accuracy.png")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", required=True, help="model to fine-tune: preset, Hugging Face directory or id")
    parser.add_argument("--train", required=True, nargs="+", metavar="FILE", help="labelled texts for training")
    parser.add_argument("--dev", nargs="+", metavar="FILE", help="labelled texts that select the best epoch")
    parser.add_argument("--test", nargs="+", metavar="FILE", help="labelled texts whose accuracy is reported")
    parser.add_argument("--output_dir", required=True, help="folder for the model and the results")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run in OUTPUT_DIR")
    parser.add_argument("--train_languages", nargs="+", metavar="LANG", help="languages of --train to use; unset: all")
    parser.add_argument("--max_train_samples", type=int, metavar="N", help="use only the first N of each language")
    parser.add_argument("--epochs", type=int, default=DEFAULTS.epochs, help="passes over --train")
    parser.add_argument("--batch_size", type=int, default=DEFAULTS.batch_size, help="samples per update")
    parser.add_argument("--learning_rate", type=float, default=DEFAULTS.learning_rate, help="peak learning rate")
    parser.add_argument(
        "--warmup_share", type=float, default=DEFAULTS.warmup_share, help="share of updates until the peak"
    )
    parser.add_argument(
        "--weight_decay", type=float, default=DEFAULTS.weight_decay, help="decoupled weight decay (AdamW)"
    )
    parser.add_argument("--dropout", type=float, default=DEFAULTS.dropout, help="dropout rate of encoder and head")
    parser.add_argument(
        "--max_length", type=int, help="maximum tokens per sample; unset: 128, or all positions if fewer"
    )
    parser.add_argument(
        "--seed", type=int, default=DEFAULTS.seed, help="seed of the head's weights, dropout and the order of samples"
    )
    return parser.parse_args(arguments)


def check_kinds(training: Sequence[LabelledTexts], measured: Iterable[LabelledTexts]) -> None:
    """Raises `InputError` if some samples are single texts and others pairs."""
    sides = len(training[0].texts)
    for part in measured:
        if len(part.texts) != sides:
            kinds = {1: "single texts", 2: "pairs of texts"}
            raise InputError(f"{part.files[0]}: holds {kinds[len(part.texts)]}, but the training data {kinds[sides]}")


def describe(parts: Sequence[LabelledTexts]) -> str:
    """One line on what was read."""
    counts = ", ".join(f"{part.language} {len(part):,}" for part in parts) or "none"
    rows = sum(part.left_out for part in parts)
    return f"{counts} ({rows:,} rows without label or text left out)" if rows else counts


def left_out(parts: Iterable[LabelledTexts]) -> dict[str, dict[str, int]]:
    """{file: {reason: rows}} over all languages."""
    files: dict[str, dict[str, int]] = {}
    for part in parts:
        for file, reasons in part.reasons.items():
            counts = files.setdefault(file, {})
            for reason, rows in reasons.items():
                counts[reason] = counts.get(reason, 0) + rows
    return files


def notes(labels: Sequence[str], data: Mapping[str, Sequence[LabelledTexts]]) -> None:
    """Prints what was left out of each file, which files were joined, and the classes that data for measuring lacks.

    Args:
        labels: list of str.
        data: {"training" or another name: list of `LabelledTexts`}.
    """
    for name, parts in data.items():
        for file, reasons in left_out(parts).items():
            counts = ", ".join(f"{rows:,} with {reason}" for reason, rows in reasons.items())
            print(f"left out of {file}: {counts}")
        for part in parts:
            if len(part.files) > 1:
                print(f"note: {name} in {part.language} joins {len(part.files):,} files: {', '.join(part.files)}")
            absent = [label for label in labels if label not in part.places]
            if absent:
                print(f"note: {name} in {part.language} has no sample labelled {', '.join(absent)}")
    sys.stdout.flush()


def readable(path: PathLike) -> str:
    """A path for JSON: bytes of its name that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def report(results: Mapping[str, Any]) -> None:
    """Prints the table: a row a language, their mean, and the transfer gap."""
    table = rich.table.Table(title=f"Accuracy in %, {results['measured_on']}", box=rich.box.SIMPLE)
    for name in ("language", "samples", "accuracy"):
        table.add_column(name, justify="left" if name == "language" else "right")
    names = list(results["accuracy"])
    for name in names:
        accuracy = f"{100 * results['accuracy'][name]:.1f}"
        table.add_row(name, f"{results['samples'][name]:,}", accuracy, end_section=name == names[-1])
    table.add_row("mean", "", f"{100 * results['mean']:.1f}")
    if results["transfer_gap"] is not None:
        table.add_row("transfer gap", "", f"{100 * results['transfer_gap']:.1f}")
    rich.print(table)
