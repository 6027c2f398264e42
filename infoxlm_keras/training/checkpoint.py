"""One checkpoint = all state of a run; written atomically, verified when read, the newest intact one found again.

    checkpoints/step-00000100/state.safetensors   every variable: model, head, optimizer, key encoder, queue, seeds,
                                                  loss scale, and the metrics' sums of the log interval in progress
    checkpoints/step-00000100/checkpoint.json     step (index of the next batch), checksum, scores, what the run was

A checkpoint is written beside its place, forced to the disk, and renamed: under its name it is complete or not there.
Nothing in it depends on the number of devices.
"""

import dataclasses
import errno
import hashlib
import os
import pathlib
import re
import shutil

import numpy as np
import safetensors
import safetensors.numpy
from keras import ops

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, write_json

VERSION = 2
STATE_FILE, INFO_FILE = "state.safetensors", "checkpoint.json"
_METRICS = "metrics/"


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read back.

    Attributes:
        step: int, batches consumed; the data goes on at this step.
        info: dict, as given to `save_checkpoint`.
        metrics: list of arrays for `pretrainer.metrics_variables`: the open log interval. `fit` sets metrics to zero
            when it starts, so whoever calls it assigns them afterwards. Empty if the metrics are others now.
    """

    step: int
    info: dict
    metrics: list


def state_variables(pretrainer):
    """Ordered dict of unique name to variable: all that a run needs to go on bit for bit.

    Seeds of dropout are among `pretrainer.variables`, though Keras' own weight files leave them out. A name is a
    running number and the variable's own name: paths repeat in the two backbones, and hold numbers that Keras counts
    up through the process.
    """
    variables = [*pretrainer.variables, *pretrainer.optimizer.variables]
    metrics = {id(variable) for variable in pretrainer.metrics_variables}
    kept = [variable for variable in variables if id(variable) not in metrics]
    return {f"{number:05d}/{variable.name}": variable for number, variable in enumerate(kept)}


def save_checkpoint(directory, pretrainer, step, info=None, scores=None, keep=3, best_by=None, write=True):
    """Writes checkpoint `step`, then removes all but the newest `keep` and the best.

    Args:
        directory: str or path, the run's `checkpoints` directory.
        pretrainer: `InfoXLMPretrainer`, compiled.
        step: int, batches consumed; the data goes on at this step.
        info: optional dict of JSON values to keep with it.
        scores: optional dict of name to float, measured at this step.
        keep: int >= 1.
        best_by: optional name of a score; the checkpoint with the best one stays, see `is_better`.
        write: bool. False takes part in reading variables, which may need every process, but writes nothing.

    Raises:
        InputError: if it cannot be written (a full disk); the checkpoints before it are as they were.
    """
    directory = pathlib.Path(directory)
    variables = {**state_variables(pretrainer), **_metrics_variables(pretrainer)}
    state = {name: np.array(ops.convert_to_numpy(variable), order="C") for name, variable in variables.items()}
    if not write:
        return
    path = directory / f"step-{step:08d}"
    try:
        with new_directory(path, replace=True) as temporary:
            _write_state(temporary / STATE_FILE, state)
            content = {"version": VERSION, "step": step, "sha256": _digest(temporary / STATE_FILE)}
            write_json(temporary / INFO_FILE, {**content, "scores": scores or {}, "info": info or {}})
            for written in (temporary / STATE_FILE, temporary / INFO_FILE, temporary):
                _force_to_disk(written)
        _force_to_disk(directory)
    except OSError as error:
        raise InputError(_not_saved(directory, step, error)) from None
    _prune(directory, keep, best_by)


def restore_newest(directory, pretrainer, check=None, report=print):
    """Restores the newest intact checkpoint; damaged ones are reported, and set aside as `damaged-step-...`.

    Args:
        directory: str or path; may be absent.
        pretrainer: `InfoXLMPretrainer`, compiled, of the same settings.
        check: optional function of the checkpoint's `info` that raises if it belongs to another run.
        report: called with one line for each damaged checkpoint that is passed over.

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
            _set_aside(path)
            continue
        content = read_json(path / INFO_FILE)
        if content.get("version") != VERSION:
            raise InputError(
                f"{path}: is a checkpoint of version {content.get('version')!r}, this release reads {VERSION}; go on "
                "with the release that wrote it, or give a new --output_dir"
            )
        if check is not None:
            check(content["info"])
        return Restored(content["step"], content["info"], _assign(path / STATE_FILE, pretrainer))
    if found:
        raise InputError(
            f"{directory}: none of its {len(found)} checkpoints is intact, the run cannot go on; start over with "
            "--fresh --overwrite, or give a new --output_dir"
        )
    return None


def restore_best(directory, pretrainer, best_by):
    """Restores the checkpoint with the best score `best_by`; returns (step, score), or None without an intact one."""
    best = _best(directory, best_by)
    if best is None or damage(best) is not None:
        return None
    _assign(best / STATE_FILE, pretrainer)
    content = read_json(best / INFO_FILE)
    return content["step"], content["scores"][best_by]


def best_score(directory, best_by):
    """The best score `best_by` among the checkpoints in `directory`; None if none has one."""
    best = _best(directory, best_by)
    return None if best is None else read_json(best / INFO_FILE)["scores"][best_by]


def is_better(name, value, than):
    """Whether score `value` is better than `than` (None: there is none yet). Of a loss the lower one is better."""
    if than is None:
        return True
    return value < than if name.endswith("loss") else value > than


def checkpoints(directory):
    """The checkpoints in `directory` (which may be absent), oldest first: list of path."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if re.fullmatch(r"step-\d{8,}", path.name)),
        key=lambda path: int(path.name.removeprefix("step-")),
    )


def newest_step(directory):
    """The step of the newest checkpoint in `directory`, intact or not; 0 if there is none."""
    found = checkpoints(directory)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def damage(path):
    """What is wrong with the checkpoint at `path`, or None."""
    try:
        content = read_json(path / INFO_FILE)
    except InputError as error:
        return str(error)
    if not isinstance(content, dict) or not {"version", "step", "sha256"} <= set(content):
        return f"{INFO_FILE} is not complete"
    if not (path / STATE_FILE).is_file():
        return f"{STATE_FILE} is missing"
    if _digest(path / STATE_FILE) != content["sha256"]:
        return f"{STATE_FILE} is truncated or damaged (its checksum differs)"
    return None


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
    """Returns when the file's content, or the directory's entries, would outlive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_saved(directory, step, error):
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space (or lower keep_checkpoints)" if full else "mend that"
    left = checkpoints(directory)
    there = f"{left[-1].name} is intact" if left else "there is none before it"
    return f"{directory}: {reason}: the checkpoint of step {step} was not saved; {there}; {remedy} and run this again"


def _prune(directory, keep, best_by):
    kept = [*checkpoints(directory)[-keep:], _best(directory, best_by)]
    for path in checkpoints(directory):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _best(directory, best_by):
    """The checkpoint with the best score `best_by`, the earliest of equals; None if none has one."""
    best, best_value = None, None
    for path in checkpoints(directory) if best_by else ():
        try:
            value = read_json(path / INFO_FILE).get("scores", {}).get(best_by)
        except InputError:
            continue  # damaged: told when it is restored
        if value is not None and is_better(best_by, value, best_value):
            best, best_value = path, value
    return best


def _set_aside(path):
    aside = path.with_name(f"damaged-{path.name}")
    if aside.exists():
        shutil.rmtree(aside)
    path.rename(aside)


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


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
