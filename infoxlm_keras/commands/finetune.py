"""`infoxlm finetune-<name>`: trains one of the heads of `finetuning/registry.py` and measures it in every language."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.command_line import quiet_imports
from infoxlm_keras.commands.device_options import distribution_of
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import write_json
from infoxlm_keras.files.overwriting import named_files
from infoxlm_keras.files.remote_arguments import with_local_paths
from infoxlm_keras.interruption import exit_status, termination_raises

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.finetuning.head import FineTuningHead
    from infoxlm_keras.finetuning.settings import FineTuningSettings
    from infoxlm_keras.finetuning.trials import Trial

with quiet_imports():
    from infoxlm_keras.commands.finetune_options import check_kept_apart, parse
    from infoxlm_keras.commands.finetune_report import left_out, print_facts, readable, report
    from infoxlm_keras.distribution import is_chief
    from infoxlm_keras.distribution.agreement import check_agreement, let_others_leave
    from infoxlm_keras.distribution.strategies import ending_together
    from infoxlm_keras.finetuning.loop import FineTuningRun, Stopped, weights_stay
    from infoxlm_keras.finetuning.registry import head_class
    from infoxlm_keras.finetuning.run_output import FineTuningOutput, existing_parent
    from infoxlm_keras.finetuning.sample_batches import check_batch_size
    from infoxlm_keras.finetuning.transfer import transfer_gap
    from infoxlm_keras.finetuning.trials import best_trial, chosen_learning_rate, run_trials, summary, trial_settings
    from infoxlm_keras.pretrained import load_pretrained
    from infoxlm_keras.reports.plots import accuracy_by_language, save_figure
    from infoxlm_keras.runs.directory import RunDirectory


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
        inputs = named_files([value for name, value in vars(options).items() if name != "output_dir"])
        output.check(options.overwrite, inputs)
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
    development = kind.read_measured(options.dev, options.dev_languages) if options.dev else []
    test = kind.read_measured(options.test) if options.test else []
    # Folders, and forms such as `en-de=FILE`, have told their files now.
    parts = {"--train": training, "--dev": development, "--test": test}
    check_kept_apart({option: [file for part in read for file in part.files] for option, read in parts.items()})
    return kind(training, development, test)


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
