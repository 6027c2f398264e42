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
import hashlib
import json
import math
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import safetensors
import safetensors.numpy
from keras import ops

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.distribution import is_chief
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, write_json
from infoxlm_keras.files.disk_room import check_free
from infoxlm_keras.files.mirror import fetch
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

# Version 2 is the same without `checksum`.
VERSION, READABLE_VERSIONS = 3, (2, 3)
STATE_FILE, INFO_FILE = "state.safetensors", "checkpoint.json"
_METRICS = "metrics/"


class _OtherRelease(InputError):
    """A checkpoint that this release cannot read, though it may be intact."""


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
        scores: optional dict of name to float, measured at this step.
        keep: int >= 1.
        best_by: optional name of a score; the checkpoint with the best one stays, see `is_better`.
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
            content = {"version": VERSION, "step": step, "sha256": _digest(temporary / STATE_FILE)}
            content.update(scores=scores or {}, info=info or {})
            write_json(temporary / INFO_FILE, {**content, "checksum": _checksum(content)})
            for written in (temporary / STATE_FILE, temporary / INFO_FILE, temporary):
                _force_to_disk(written)
        _force_to_disk(directory)
    except OSError as error:
        raise InputError(_not_saved(directory, step, error, keep)) from None
    _prune(directory, keep, best_by)


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
            _set_aside(path)
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
    found = _best_intact(directory, best_by, report)
    if found is None:
        return None
    path, score = found
    _assign(path / STATE_FILE, pretrainer)
    return _step_of(path), score


def best_score(directory: PathLike, best_by: str | None, report: Callable[[str], None] = print) -> float | None:
    """The best score `best_by` among the intact checkpoints in `directory`; None if none has one.

    A damaged checkpoint that would have been the best is reported and set aside, see `restore_best`.
    """
    found = _best_intact(directory, best_by, report)
    return None if found is None else found[1]


def is_better(name: str, value: float, than: float | None) -> bool:
    """Whether score `value` is better than `than` (None: there is none yet). Of a loss the lower one is better."""
    if than is None:
        return True
    return value < than if name.endswith("loss") else value > than


def checkpoints(directory: PathLike) -> list[pathlib.Path]:
    """The checkpoints in `directory` (which may be absent), oldest first: list of path."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if re.fullmatch(r"step-\d{8,}", path.name)),
        key=_step_of,
    )


def newest_step(directory: PathLike) -> int:
    """The step of the newest checkpoint in `directory`, intact or not; 0 if there is none."""
    found = checkpoints(directory)
    return _step_of(found[-1]) if found else 0


def damage(path: pathlib.Path) -> str | None:
    """What is wrong with the checkpoint at `path` (str), or None.

    Raises:
        InputError: if it was written by another release, which is no damage.
    """
    content, problem = _read_info(path)
    if problem is not None:
        return problem
    fetch(path / STATE_FILE)
    if not (path / STATE_FILE).is_file():
        return f"{STATE_FILE} is missing"
    if _digest(path / STATE_FILE) != content["sha256"]:
        return f"{STATE_FILE} is truncated or damaged (its checksum differs)"
    return None


def _read_info(path):
    """(content of checkpoint.json, None), or (None, what is wrong with it)."""
    try:
        content = read_json(path / INFO_FILE)
    except InputError as error:
        return None, str(error)
    if not isinstance(content, dict) or "version" not in content:
        return None, f"{INFO_FILE} is not complete"
    version = content["version"]
    checksum = content.pop("checksum", None)
    if checksum is not None and checksum != _checksum(content):
        return None, f"{INFO_FILE} is damaged (its checksum differs)"
    if version not in READABLE_VERSIONS:
        raise _OtherRelease(
            f"{path}: is a checkpoint of version {version!r:.20}, this release reads {VERSION}; continue with the "
            "release that wrote it, or give a new --output_dir"
        )
    if checksum is None and version == VERSION:
        return None, f"{INFO_FILE} is not complete"
    # Version 2 has no checksum, so the values are checked here.
    kinds = {"step": int, "sha256": str, "scores": dict, "info": dict}
    if not all(type(content.get(name)) is kind for name, kind in kinds.items()) or not all(
        isinstance(score, float | int) and math.isfinite(score) for score in content["scores"].values()
    ):
        return None, f"{INFO_FILE} is not complete"
    if content["step"] != _step_of(path):
        return None, f"{INFO_FILE} is of step {content['step']}, its directory of step {_step_of(path)}"
    return content, None


def _checksum(content):
    """The checksum of what checkpoint.json says, whatever its layout."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _step_of(path):
    return int(path.name.removeprefix("step-"))


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


def _prune(directory, keep, best_by):
    kept = checkpoints(directory)[-keep:]
    best_first = _best_first(directory, best_by)
    if best_first:
        kept.append(best_first[0][0])
    for path in checkpoints(directory):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _best_first(directory, best_by, report=None):
    """List of (path, score) of the checkpoints that have the score `best_by`, the earliest of equals first.

    Only the files of scores are read, not the states. With `report`, a damaged file is reported and its checkpoint set
    aside.
    """
    found = []
    for path in checkpoints(directory) if best_by else ():
        try:
            content, problem = _read_info(path)
        except _OtherRelease:
            continue
        if problem is not None:
            if report is not None:
                report(f"{path}: {problem}; it is not considered as the best checkpoint")
                _set_aside(path)
        elif best_by in content["scores"]:
            found.append((path, content["scores"][best_by]))
    sign = 1 if is_better(best_by or "", 0, 1) else -1
    return sorted(found, key=lambda item: sign * item[1])


def _best_intact(directory, best_by, report):
    """(path, score) of the best checkpoint whose state is intact, or None; damaged ones are reported, set aside."""
    for path, score in _best_first(directory, best_by, report):
        problem = damage(path)
        if problem is None:
            return path, score
        report(f"{path}: {problem}; it was the best checkpoint by {best_by}, trying the next best")
        _set_aside(path)
    return None


def _set_aside(path):
    """Renames a damaged checkpoint to `damaged-step-...`; the chief does it, and all workers see the result."""
    if is_chief():
        # A run in a store keeps the states there until they are read: only what is here can be moved.
        for file in path.iterdir() if path.is_dir() else ():
            fetch(file)
        aside = path.with_name(f"damaged-{path.name}")
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
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
