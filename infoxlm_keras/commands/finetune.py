"""`infoxlm finetune-<name>`: trains one of the heads of `finetuning/registry.py` and measures it in every language."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich
import rich.box
import rich.table

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.command_line import argument_parser, print_settings, quiet_imports
from infoxlm_keras.commands.device_options import add_device_options, distribution_of
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.interruption import exit_status, termination_raises
from infoxlm_keras.text.languages import language_or_none

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.finetuning.head import FineTuningHead, Samples
    from infoxlm_keras.finetuning.settings import FineTuningSettings
    from infoxlm_keras.finetuning.trials import Trial

with quiet_imports():
    from infoxlm_keras.distribution import current_distribution, is_chief
    from infoxlm_keras.distribution.agreement import check_agreement, let_others_leave
    from infoxlm_keras.distribution.strategies import ending_together
    from infoxlm_keras.finetuning.loop import FineTuningRun, Stopped, weights_stay
    from infoxlm_keras.finetuning.registry import head_class
    from infoxlm_keras.finetuning.run_output import FineTuningOutput, existing_parent
    from infoxlm_keras.finetuning.sample_batches import check_batch_size
    from infoxlm_keras.finetuning.settings import DTYPES
    from infoxlm_keras.finetuning.transfer import transfer_gap
    from infoxlm_keras.finetuning.trials import best_trial, chosen_learning_rate, run_trials, summary, trial_settings
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.plots import accuracy_by_language, save_figure
    from infoxlm_keras.runs.directory import RunDirectory

RUNNING = """
The same command again continues from the newest checkpoint, whatever ended the run: a kill, a full disk, SIGTERM or
Ctrl-C. On SIGTERM or Ctrl-C a run in training finishes its update, saves and exits with 0; a second signal ends it at
once. A killed run ends with the same weights as one that was not.

Several values of --learning_rate and --seed are a grid of runs. The learning rate is the one whose mean over the seeds
is best on --dev; results.json has mean and standard deviation of every learning rate, and model/ is the best seed.

The devices are chosen as for infoxlm pretrain, by --strategy (docs/distribution.md), the Keras backend by the
environment variable KERAS_BACKEND. A batch size counts all replicas and micro-batches together.
"""


def command(name: str) -> Callable[..., None]:
    """The function `main(arguments=None)` of the command of the head `name`."""
    return functools.partial(main, name)


@with_local_paths(inputs=("train", "dev", "test"))
def main(name: str, arguments: Sequence[str] | None = None) -> None:
    """Runs the command of the head `name` with `arguments` (list of str; None: those of the process)."""
    kind = head_class(name)
    options = parse(kind, arguments)
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(kind.Settings)}
    settings = kind.Settings(**{**given, "learning_rate": options.learning_rate[0], "seed": options.seed[0]})
    all_settings = trial_settings(settings, options.learning_rate, options.seed, bool(options.dev))
    in_common = {name: str(value) for name, value in vars(options).items() if name not in ("process", "output_dir")}
    with (
        ending_together(distribution := distribution_of(options, in_common)),
        distribution.scope(),
        RunDirectory.opened(options.output_dir) as directory,
    ):
        output = FineTuningOutput(directory.path, kind)
        output.check(options.overwrite)
        check_batch_size(settings.batch_size, distribution.num_replicas * settings.accumulation_steps)
        head = read_head(kind, options)
        if is_chief():
            print_facts(head, options, settings)
        with termination_raises(), output.claimed() if is_chief() else contextlib.nullcontext():
            try:
                trials = train(head, output, options, all_settings, directory.publish)
                if is_chief():
                    with weights_stay(output.path):
                        finish(head, output, options, trials)
                check_agreement(len(trials), "the number of runs")
                let_others_leave()
            except Stopped as stopped:
                if is_chief():
                    again = " without --overwrite" if options.overwrite else ""
                    print(f"{stopped}, which is saved; to continue, repeat the command{again}")
            except KeyboardInterrupt as interrupt:
                held = f"what was saved so far is in {output.runs}; to continue, repeat the command"
                print(f"interrupted; {held if output.runs.is_dir() else 'nothing was written'}", file=sys.stderr)
                raise SystemExit(exit_status(interrupt)) from None


def read_head(kind: type[FineTuningHead], options: argparse.Namespace) -> FineTuningHead:
    """The head with all its data, which are checked."""
    check_kept_apart({"--train": options.train, "--dev": options.dev, "--test": options.test})
    if not options.dev and not options.test:
        raise InputError("--dev and --test: give at least one of them; there is nothing to measure")
    training = kind.read(options.train, options.train_languages, options.max_train_samples)
    development = kind.read(options.dev, options.dev_languages) if options.dev else []
    test = kind.read(options.test) if options.test else []
    return kind(training, development, test)


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


def train(
    head: FineTuningHead,
    output: FineTuningOutput,
    options: argparse.Namespace,
    all_settings: Sequence[FineTuningSettings],
    publish: Callable[[], None],
) -> list[Trial]:
    """Makes or continues all runs; `publish` brings what is saved to a store."""

    def prepare(run: FineTuningRun) -> None:
        if not is_chief():
            return
        check_space(output, run.head.backbone)
        for line in run.head.fitting_notes():
            print(line, flush=True)
        if options.overwrite:
            # Everything for the new runs was read and fits.
            output.start_over()

    load = functools.partial(load_pretrained, options.model, dtype=all_settings[0].dtype)
    return run_trials(head, load, all_settings, output.runs, prepare, options.overwrite, publish)


def finish(
    head: FineTuningHead,
    output: FineTuningOutput,
    options: argparse.Namespace,
    trials: Sequence[Trial],
) -> None:
    """Keeps the chosen model, writes the results and prints them."""
    rate = chosen_learning_rate(trials)
    chosen = best_trial(trial for trial in trials if trial.learning_rate == rate)
    output.keep(chosen, trials)
    languages = [part.language for part in head.training]
    measured = head.test or head.development
    data = {"training": head.training, "development": head.development, "test": head.test}
    scores = chosen.result["scores"]
    results = {
        "model": readable(options.model),
        "settings": chosen.result["settings"],
        **head.facts(),
        "training": {part.language: len(part) for part in head.training},
        "update": chosen.result["update"],
        "updates": chosen.result["updates"],
        "evaluations": chosen.result["evaluations"],
        "measured_on": "test" if head.test else "development (which chose the update)",
        "samples": {part.language: len(part) for part in measured},
        "left_out": {
            name: {readable(file): reasons for file, reasons in left_out(parts).items()}
            for name, parts in data.items()
        },
        **scores,
        "mean": chosen.mean(head.metric),
        "transfer_gap": transfer_gap(scores[head.metric], languages),
        "runs": [
            {
                "directory": f"{output.runs.name}/{trial.directory.name}",
                "learning_rate": trial.learning_rate,
                "seed": trial.result["settings"]["seed"],
                "development_mean": trial.development_mean,
                "mean": {metric: trial.mean(metric) for metric in trial.result["scores"]},
            }
            for trial in trials
        ],
        "summary": summary(trials),
    }
    report(results, list(scores), head.metric)
    save_figure(accuracy_by_language(scores[head.metric], languages, head.chance(), head.metric), output.plot)
    # Last, since a folder with results is complete.
    write_json(output.results, results)
    print(f"wrote {output.model}, {output.results.name} and {output.plot.name}")


def check_space(output: FineTuningOutput, model: keras.Model) -> None:
    """Raises `InputError` if the disk has no space for a model and two checkpoints with the optimizer's state."""
    parent = existing_parent(output.path)
    needed, free = 4 * model.count_params() * 7, shutil.disk_usage(parent).free
    if needed > free:
        raise InputError(
            f"{parent}: the run needs {needed / 1e6:,.1f} MB, for the model and two checkpoints, but "
            f"{free / 1e6:,.1f} MB are free; free some space, or give another --output_dir"
        )


def parse(kind: type[FineTuningHead], arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command of `kind`, a `FineTuningHead` class."""
    defaults = kind.Settings()
    parser = argument_parser(kind.description.rstrip() + "\n" + RUNNING)
    parser.add_argument("--model", required=True, help="model to fine-tune: preset, Hugging Face directory or id")
    parser.add_argument("--train", required=True, nargs="+", metavar="FILE", help=f"{kind.samples} for training")
    parser.add_argument("--dev", nargs="+", metavar="FILE", help=f"{kind.samples} that select the best update")
    parser.add_argument("--test", nargs="+", metavar="FILE", help=f"{kind.samples} whose {kind.metric} is reported")
    parser.add_argument("--output_dir", required=True, help="folder for the model and the results")
    parser.add_argument(
        "--overwrite", action="store_true", help="start over: replace what an earlier command left in OUTPUT_DIR"
    )
    parser.add_argument("--train_languages", nargs="+", metavar="LANG", help="languages of --train to use; unset: all")
    parser.add_argument("--dev_languages", nargs="+", metavar="LANG", help="languages of --dev to use; unset: all")
    parser.add_argument("--max_train_samples", type=int, metavar="N", help="use only the first N of each language")
    parser.add_argument("--epochs", type=int, default=defaults.epochs, help="passes over --train")
    parser.add_argument("--batch_size", type=int, default=defaults.batch_size, help="samples per update")
    parser.add_argument(
        "--learning_rate",
        type=float,
        nargs="+",
        default=[defaults.learning_rate],
        help="peak learning rate; several: a run for each, and --dev chooses",
    )
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
        "--max_length",
        type=int,
        default=defaults.max_length,
        help=f"maximum tokens per sample; unset: {kind.default_max_length}, or all positions if fewer",
    )
    parser.add_argument(
        "--seed",
        type=int,
        nargs="+",
        default=[defaults.seed],
        help="seed of the head's weights, dropout and the order of samples; several: a run for each",
    )
    parser.add_argument(
        "--evaluate_every", type=int, metavar="N", help="measure --dev every N updates; unset: after each epoch"
    )
    parser.add_argument(
        "--patience", type=int, metavar="N", help="end after N measures without a new best one; unset: never early"
    )
    parser.add_argument("--save_every", type=int, default=defaults.save_every, help="updates between checkpoints")
    parser.add_argument(
        "--accumulation_steps",
        type=int,
        default=defaults.accumulation_steps,
        help="cut each batch into N micro-batches: less memory, the same update",
    )
    parser.add_argument(
        "--group_by_length",
        action=argparse.BooleanOptionalAction,
        default=defaults.group_by_length,
        help="make batches of samples of about equal length: faster, by less padding",
    )
    parser.add_argument("--dtype", choices=DTYPES, default=defaults.dtype, help="precision of encoder and head")
    parser.add_argument(
        "--lora_rank",
        type=int,
        metavar="R",
        help="train low-rank matrices beside queries and values, and the head, only (LoRA); unset: all weights",
    )
    parser.add_argument(
        "--jit_compile",
        action=argparse.BooleanOptionalAction,
        default=defaults.jit_compile,
        help="compile the step by XLA (TensorFlow)",
    )
    add_device_options(parser)
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
    rich.print(table)
    print(f"* chosen; model/ is its seed {results['settings']['seed']}")


def shown_deviation(numbers: Mapping[str, float | None]) -> str:
    """`mean_and_deviation` in percent, for a table: "76.2 ± 0.3"."""
    mean, deviation = numbers["mean"], numbers["sd"]
    assert mean is not None
    return f"{100 * mean:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
