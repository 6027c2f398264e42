"""One checkpoint = all state of a run; written atomically, verified when read, the newest valid one found again.

    checkpoints/step-00000100/state.safetensors   every variable: model, head, optimizer, key encoder, queue, seeds
    checkpoints/step-00000100/checkpoint.json     step, checksum, what the run was
"""

import hashlib
import pathlib
import re
import shutil

import numpy as np
import safetensors.numpy
from keras import ops

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, write_json

VERSION = 1
STATE_FILE, INFO_FILE = "state.safetensors", "checkpoint.json"


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


def save_checkpoint(directory, pretrainer, step, info=None, keep=3):
    """Writes checkpoint `step` and removes all but the newest `keep`.

    Args:
        directory: str or path, the run's `checkpoints` directory.
        pretrainer: `InfoXLMPretrainer`, compiled.
        step: int, batches consumed; the data goes on at this step.
        info: optional dict of JSON values to keep with it.
        keep: int >= 1.
    """
    directory = pathlib.Path(directory)
    state = {name: np.array(ops.convert_to_numpy(v), order="C") for name, v in state_variables(pretrainer).items()}
    with new_directory(directory / f"step-{step:08d}", replace=True) as temporary:
        safetensors.numpy.save_file(state, temporary / STATE_FILE)
        content = {"version": VERSION, "step": step, "sha256": _digest(temporary / STATE_FILE), "info": info or {}}
        write_json(temporary / INFO_FILE, content)
    for old in _checkpoints(directory)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def restore_newest(directory, pretrainer, report=print):
    """Restores the newest intact checkpoint.

    Args:
        directory: str or path; may be absent.
        pretrainer: `InfoXLMPretrainer`, compiled, of the same settings.
        report: called with one line for each damaged checkpoint that is passed over.

    Returns:
        The checkpoint's step, or None if there is no intact checkpoint.

    Raises:
        InputError: if an intact checkpoint belongs to a model of other variables.
    """
    for path in reversed(_checkpoints(pathlib.Path(directory))):
        problem = _damage(path)
        if problem:
            report(f"{path}: {problem}; trying the checkpoint before it")
            continue
        _assign(path / STATE_FILE, pretrainer)
        return read_json(path / INFO_FILE)["step"]
    return None


def _assign(path, pretrainer):
    state = safetensors.numpy.load_file(path)
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


def _checkpoints(directory):
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if re.fullmatch(r"step-\d{8,}", path.name))


def _damage(path):
    """What is wrong with the checkpoint at `path`, or None."""
    try:
        content = read_json(path / INFO_FILE)
    except InputError as error:
        return str(error)
    if content.get("version") != VERSION:
        return f"version {content.get('version')!r} is not read by this release"
    if not (path / STATE_FILE).is_file():
        return f"{STATE_FILE} is missing"
    if _digest(path / STATE_FILE) != content.get("sha256"):
        return f"{STATE_FILE} is truncated or damaged (its checksum differs)"
    return None


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
