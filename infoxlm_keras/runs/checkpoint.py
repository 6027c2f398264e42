"""Checkpoints: one holds all state of a run, is written atomically and is verified when it is read.

    checkpoints/step-00000100/state.safetensors   every variable: model, head, optimizer, key encoder, queue, seeds,
                                                  loss scale, and the metrics' sums of the log interval in progress
    checkpoints/step-00000100/checkpoint.json     step (index of the next batch), scores, what the run was, and the
                                                  checksums of the state and of these values themselves

A checkpoint is written to a temporary directory, forced to the disk, and renamed, so it is complete if its name
exists. Its content does not depend on the number of devices.
"""

import dataclasses
import errno
import math
import os
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
from keras import ops

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, write_json
from infoxlm_keras.files.disk_room import check_free
from infoxlm_keras.runs.checkpoint_files import (
    INFO_FILE,
    STATE_FILE,
    VERSION,
    best_intact,
    checkpoints,
    checksum_of,
    damage,
    digest,
    prune,
    set_aside,
    step_of,
)
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

_METRICS = "metrics/"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read back.

    Attributes:
        step: int, batches consumed; the next batch has this index.
        info: dict, as given to `save_checkpoint`.
        metrics: list of arrays for `pretrainer.metrics_variables`, the open log interval. `fit` sets metrics to zero
            when it starts, so a callback assigns them afterwards. Empty if the model now has other metrics.
    """

    step: int
    info: dict[str, Any]
    metrics: list[Array]


def state_variables(pretrainer: InfoXLMPretrainer) -> dict[str, keras.Variable]:
    """Ordered dict of unique name to variable: all that a run needs to resume bit for bit.

    It includes the seeds of dropout, which Keras' weight files leave out. Models that a task loads at each start
    (`PretextTask.constant_variables`) are not in it. A name is a running number and the variable's own name. Paths
    would not do: they repeat in the two backbones, and contain numbers that Keras counts up in the process.
    """
    variables = [*pretrainer.variables, *pretrainer.optimizer.variables]
    constants = [variable for task in pretrainer.tasks for variable in task.constant_variables]
    left_out = {id(variable) for variable in (*pretrainer.metrics_variables, *constants)}
    kept = [variable for variable in variables if id(variable) not in left_out]
    return {f"{number:05d}/{variable.name}": variable for number, variable in enumerate(kept)}


def save_checkpoint(
    directory: PathLike,
    pretrainer: InfoXLMPretrainer,
    step: int,
    info: Mapping[str, Any] | None = None,
    scores: Mapping[str, float] | None = None,
    keep: int = 3,
    best_by: str | None = None,
    write: bool = True,
) -> None:
    """Writes checkpoint `step`, then removes all but the newest `keep` and the best.

    Args:
        directory: str or path, the run's `checkpoints` directory.
        pretrainer: `InfoXLMPretrainer`, compiled.
        step: int, batches consumed; the next batch has this index.
        info: optional dict of JSON values to keep with it.
        scores: optional dict of name to float, measured at this step; those that are not finite are left out.
        keep: int >= 1.
        best_by: optional name of a score; the checkpoint with the best one stays, see `checkpoint_files.is_better`.
        write: bool. False reads the variables, which may need every process, and writes nothing.

    Raises:
        InputError: if it cannot be written (a full disk); earlier checkpoints are unchanged.
    """
    directory = pathlib.Path(directory)
    variables = {**state_variables(pretrainer), **_metrics_variables(pretrainer)}
    state = {name: np.array(ops.convert_to_numpy(variable), order="C") for name, variable in variables.items()}
    if not write:
        return
    path = directory / f"step-{step:08d}"
    try:
        with new_directory(path, replace=True) as temporary:
            # Before the disk is filled for every other program, too.
            check_free(temporary, sum(values.nbytes for values in state.values()))
            _write_state(temporary / STATE_FILE, state)
            content = {"version": VERSION, "step": step, "sha256": digest(temporary / STATE_FILE)}
            measured = {name: score for name, score in (scores or {}).items() if math.isfinite(score)}
            content.update(scores=measured, info=info or {})
            write_json(temporary / INFO_FILE, {**content, "checksum": checksum_of(content)})
            for written in (temporary / STATE_FILE, temporary / INFO_FILE, temporary):
                _force_to_disk(written)
        _force_to_disk(directory)
    except OSError as error:
        raise InputError(_not_saved(directory, step, error, keep)) from None
    prune(directory, keep, best_by)


def restore_newest(
    directory: PathLike,
    pretrainer: InfoXLMPretrainer,
    check: Callable[[dict[str, Any]], None] | None = None,
    report: Callable[[str], None] = print,
    before_assigning: Callable[[int], None] | None = None,
) -> Restored | None:
    """Restores the newest intact checkpoint; damaged ones are reported, and set aside as `damaged-step-...`.

    Args:
        directory: str or path; may be absent.
        pretrainer: `InfoXLMPretrainer`, compiled, of the same settings.
        check: optional function of the checkpoint's `info` that raises if it belongs to another run.
        report: called with one line for each damaged checkpoint.
        before_assigning: optional function of the step that was found (0: none), which may raise. Workers compare
            it there: on JAX, each assignment waits for all of them.

    Returns:
        `Restored`, or None if there is no checkpoint at all.

    Raises:
        InputError: if checkpoints are there but none is intact, or the newest intact one belongs to a model of other
            variables or was written by another release.
    """
    found = checkpoints(directory)
    for path in reversed(found):
        problem = damage(path)
        if problem:
            report(f"{path}: {problem}; trying the checkpoint before it")
            set_aside(path)
            continue
        content = read_json(path / INFO_FILE)
        if check is not None:
            check(content["info"])
        if before_assigning is not None:
            before_assigning(content["step"])
        return Restored(content["step"], content["info"], _assign(path / STATE_FILE, pretrainer))
    if found:
        raise InputError(
            f"{directory}: none of its {len(found)} checkpoints is intact, the run cannot continue; start over with "
            "--fresh --overwrite, or give a new --output_dir"
        )
    if before_assigning is not None:
        before_assigning(0)
    return None


def restore_best(
    directory: PathLike, pretrainer: InfoXLMPretrainer, best_by: str | None, report: Callable[[str], None] = print
) -> tuple[int, float] | None:
    """Restores the intact checkpoint with the best score `best_by`; a damaged one is reported and set aside.

    Args:
        directory: str or path.
        pretrainer: `InfoXLMPretrainer`, compiled, of the same settings.
        best_by: name of a score, or None.
        report: called with one line for each damaged checkpoint that would have been the best.

    Returns:
        (step, score), or None without an intact checkpoint that has the score.
    """
    found = best_intact(directory, best_by, report)
    if found is None:
        return None
    path, score = found
    _assign(path / STATE_FILE, pretrainer)
    return step_of(path), score


def best_score(directory: PathLike, best_by: str | None, report: Callable[[str], None] = print) -> float | None:
    """The best score `best_by` among the intact checkpoints in `directory`; None if none has one.

    A damaged checkpoint that would have been the best is reported and set aside, see `restore_best`.
    """
    found = best_intact(directory, best_by, report)
    return None if found is None else found[1]


def _metrics_variables(pretrainer):
    variables = pretrainer.metrics_variables
    return {f"{_METRICS}{number:05d}/{variable.name}": variable for number, variable in enumerate(variables)}


def _write_state(path, state):
    try:
        safetensors.numpy.save_file(state, path)
    except safetensors.SafetensorError as error:
        # The library gives the system's errors as text only: "... (os error 28)".
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def _force_to_disk(path):
    """Flushes the file's content, or the directory's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_saved(directory, step, error, keep):
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    fewer = " (or lower keep_checkpoints)" if keep > 1 else ""
    remedies = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), f"free some space{fewer}")
    remedies[errno.EFBIG] = "raise the limit on the size of files (ulimit -f)"
    remedy = remedies.get(error.errno, "remove the cause")
    left = checkpoints(directory)
    there = f"{left[-1].name} is intact" if left else "there is none before it"
    return f"{directory}: {reason}: the checkpoint of step {step} was not saved; {there}; {remedy} and run this again"


def _assign(path, pretrainer):
    """Assigns all state but the metrics; returns the metrics' values, or [] if their names or shapes differ."""
    state = safetensors.numpy.load_file(path)
    metrics = {name: state.pop(name) for name in list(state) if name.startswith(_METRICS)}
    variables = state_variables(pretrainer)
    if set(state) != set(variables):
        odd = sorted(set(state) ^ set(variables))[0]
        raise InputError(
            f"{path}: was saved by a model of other settings (first difference: {odd}); resume with the "
            "configuration of that run, or give a new --output_dir"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != state[name].shape:
            raise InputError(
                f"{path}: {name} has shape {state[name].shape}, the model {tuple(variable.shape)}; resume with the "
                "configuration of that run, or give a new --output_dir"
            )
    for name, variable in variables.items():
        variable.assign(state[name])
    known = _metrics_variables(pretrainer)
    same = {name: tuple(variable.shape) for name, variable in known.items()} == {
        name: value.shape for name, value in metrics.items()
    }
    return [metrics[name] for name in known] if same else []
