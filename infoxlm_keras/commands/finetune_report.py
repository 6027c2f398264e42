"""What `infoxlm finetune-<name>` prints: the samples that it read, and tables of the results."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import print_settings, quiet_imports, show_table
from infoxlm_keras.text.languages import language_or_none

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.head import FineTuningHead, Samples
    from infoxlm_keras.finetuning.settings import FineTuningSettings

with quiet_imports():
    from infoxlm_keras.distribution import current_distribution


def print_facts(head: FineTuningHead, options: argparse.Namespace, settings: FineTuningSettings) -> None:
    """Prints the settings, what was read and what was left out."""
    print_settings(
        f"finetune_{head.name}",
        {
            **dataclasses.asdict(settings),
            "learning_rate": ", ".join(map(str, options.learning_rate)),
            "seed": ", ".join(map(str, options.seed)),
            "model": options.model,
            **{
                key: ", ".join(map(str, value)) if isinstance(value, list) else value
                for key, value in head.facts().items()
            },
            "training": describe(head.training),
            "development": describe(head.development),
            "test": describe(head.test),
            "output_dir": options.output_dir,
            "devices": ", ".join(current_distribution().devices) or "one",
        },
    )
    for parts in (head.training, head.development, head.test):
        print_left_out(parts)
    languages = {part.language for parts in (head.training, head.development, head.test) for part in parts}
    for language in sorted(languages):
        if not all(language_or_none(code) for code in language.split("-")[:2]):
            print(
                f"note: {language!r} is no code of a language that is known, so it is one of its own beside all others"
            )
    for line in head.notes():
        print(line)
    sys.stdout.flush()


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
    show_table(table)
    if len(results["runs"]) > 1:
        report_runs(results, scores)


def report_runs(results: Mapping[str, Any], scores: Sequence[str]) -> None:
    """Prints a row a learning rate: mean and standard deviation over its seeds, in %."""
    table = rich.table.Table(title="Mean over languages in %, and standard deviation over seeds", box=rich.box.SIMPLE)
    for name in ("learning rate", "seeds", "development", *scores):
        table.add_column(name, justify="right")
    for row in results["summary"]:
        cells = [shown_deviation(row["mean"][score]) for score in scores]
        kept = " *" if row["learning_rate"] == results["settings"]["learning_rate"] else ""
        development = row["development_mean"]
        shown = "" if development is None else shown_deviation(development)
        table.add_row(f"{row['learning_rate']:g}{kept}", str(len(row["seeds"])), shown, *cells)
    show_table(table)
    print(f"* chosen; model/ is its seed {results['settings']['seed']}")


def shown_deviation(numbers: Mapping[str, float | None]) -> str:
    """`mean_and_deviation` in percent, for a table: "76.2 ± 0.3"."""
    mean, deviation = numbers["mean"], numbers["sd"]
    assert mean is not None
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
