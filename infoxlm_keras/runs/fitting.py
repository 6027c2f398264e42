"""The `model.fit` of a run: its writers, its callbacks, and the plots that follow them."""

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from infoxlm_keras.config import RunSettings, flatten
from infoxlm_keras.data.batch_stream import BatchStream
from infoxlm_keras.distribution import is_chief
from infoxlm_keras.distribution.chips import peak_flops_of_run
from infoxlm_keras.distribution.strategies import global_batch_sizes
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.evaluation.registry import evaluation_classes
from infoxlm_keras.files import write_json
from infoxlm_keras.reports.history import HistoryFile
from infoxlm_keras.reports.language_probabilities import language_probabilities_of, probabilities_table
from infoxlm_keras.reports.wandb_log import WandbLog
from infoxlm_keras.reports.writers import ProgressLine, Recorder, TensorBoardLog
from infoxlm_keras.runs.callbacks import (
    Checkpoints,
    FreedMemory,
    IntervalLog,
    PeriodicEvaluation,
    SkippedSteps,
    StopOnSignal,
    StopSignals,
)
from infoxlm_keras.runs.checkpoint import Restored
from infoxlm_keras.runs.directory import RunDirectory
from infoxlm_keras.tasks.pretext_task import PretextTask
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

# Drawing takes longer than a short interval between two checkpoints. The end of training draws in any case.
SECONDS_BETWEEN_PLOTS = 60.0


def fit(
    pretrainer: InfoXLMPretrainer,
    config: RunSettings,
    streams: Sequence[BatchStream],
    directory: RunDirectory,
    restored: Restored | None,
    info: dict[str, Any],
    evaluations: Sequence[Evaluation] = (),
    wandb_project: str | None = None,
) -> str | None:
    """Trains from the restored step to the last, or to the end of the step in which a signal comes.

    Args:
        pretrainer: `InfoXLMPretrainer`, compiled, with its state in it.
        config: `PretrainingConfig`.
        streams: list of streams.
        directory: `RunDirectory` of the run.
        restored: `Restored`, or None at step 0.
        info: dict that is kept with each checkpoint.
        evaluations: list of `Evaluation`s, bound to `pretrainer`.
        wandb_project: str or None.

    Returns:
        str or None: the name of the signal that ended training before its last step.
    """
    from infoxlm_keras.data.streams import joined_dataset

    start = 0 if restored is None else restored.step
    chief = is_chief()
    with contextlib.ExitStack() as stack:
        recorder = Recorder(
            _writers(pretrainer.tasks, config, streams, directory, start, wandb_project) if chief else ()
        )
        stack.callback(recorder.close)
        stop = stack.enter_context(StopSignals())
        callbacks = [
            FreedMemory(start),
            SkippedSteps(config.max_consecutive_skips, start, streams, directory.skipped_steps if chief else None),
            IntervalLog(
                recorder,
                start,
                config.steps,
                config.log_every,
                global_batch_sizes(config),
                () if restored is None else restored.metrics,
                peak_flops_of_run(config.model.dtype, config.peak_tflops),
            ),
        ]
        callbacks += [
            PeriodicEvaluation(evaluation, recorder, start, config.steps, config.evaluation.every)
            for evaluation in evaluations
        ]
        callbacks += [
            Checkpoints(
                directory.checkpoints,
                start,
                config.save_every,
                config.keep_checkpoints,
                info,
                recorder,
                best_by(config, evaluations),
                write=chief,
                after_save=_after_save(directory, pretrainer.tasks) if chief else None,
            ),
            StopOnSignal(start, stop),
        ]
        dataset = joined_dataset(streams, start).map(lambda batch: (batch,))
        # One epoch of all remaining steps: the data set is endless, so Keras needs their number.
        steps = config.steps - start
        pretrainer.fit(dataset, epochs=1, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=callbacks)
        if chief:
            refresh_plots(directory, pretrainer.tasks)
        return stop.received if callbacks[-1].step < config.steps else None


def best_by(config: RunSettings, evaluations: Sequence[Evaluation]) -> str | None:
    """The number by which the best checkpoint is kept, or None.

    Args:
        config: `PretrainingConfig`.
        evaluations: list of the run's `Evaluation`s.

    Raises:
        InputError: if `keep_best` names one that no evaluation of the run writes.
    """
    columns = [name for evaluation in evaluations for name in evaluation.columns]
    if config.keep_best == "none" or (config.keep_best == "auto" and not columns):
        return None
    if config.keep_best == "auto":
        return columns[0]
    if config.keep_best not in columns:
        settings = [each.switched_on_by for each in evaluation_classes().values() if each.switched_on_by]
        known = ", ".join(columns) if columns else f"none, since {' and '.join(settings)} are not set"
        raise InputError(
            f"keep_best = {config.keep_best!r}: is written by no evaluation of this run; known for "
            f"--set keep_best=NAME: auto, none; {known}"
        )
    return config.keep_best


def refresh_plots(directory: RunDirectory, tasks: Sequence[PretextTask]) -> None:
    """Draws `plots/training.png` and `plots/run.png` from `history.csv`, if it has losses."""
    from infoxlm_keras.reports.plots import read_history, run_overview, save_figure, training_curves

    if not directory.history.is_file():
        return
    try:
        steps, metrics = read_history(directory.history)
    except InputError as error:
        # Another program wrote into the file; training continues without plots.
        print(f"warning: no plots are drawn: {error}", flush=True)
        return
    if any(f"{task.task_name}_loss" in metrics for task in tasks):
        save_figure(training_curves(steps, metrics), directory.plots / "training.png")
        save_figure(run_overview(steps, metrics), directory.plots / "run.png")


def _after_save(directory, tasks):
    """What follows a checkpoint: plots, if the last ones are `SECONDS_BETWEEN_PLOTS` old, and what a store needs."""
    drawn = time.monotonic()

    def after_save():
        nonlocal drawn
        if time.monotonic() - drawn >= SECONDS_BETWEEN_PLOTS:
            refresh_plots(directory, tasks)
            drawn = time.monotonic()
        directory.publish()

    return after_save


def _writers(tasks, config, streams, directory, start, wandb_project):
    probabilities = language_probabilities_of(streams, config.steps)
    write_json(directory.language_probabilities, probabilities)
    board = TensorBoardLog(directory.tensorboard, start, [task.task_name for task in tasks])
    if start == 0:
        board.write_text("languages", probabilities_table(probabilities))
    writers = [HistoryFile(directory.history, start), board, ProgressLine(config.steps, start, tasks)]
    if wandb_project is not None:
        settings = {**flatten(config), "language_probabilities": probabilities}
        writers.append(WandbLog(wandb_project, directory.path, settings, start))
    return writers
