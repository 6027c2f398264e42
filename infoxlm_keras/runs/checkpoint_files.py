"""The checkpoints in a run's directory: which there are, which are intact, which is the best, which stay."""

import hashlib
import json
import math
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.distribution import is_chief
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.files.mirror import fetch

# Version 2 is the same without `checksum`.
VERSION, READABLE_VERSIONS = 3, (2, 3)
STATE_FILE, INFO_FILE = "state.safetensors", "checkpoint.json"


class _OtherRelease(InputError):
    """A checkpoint that this release cannot read, though it may be intact."""


def checkpoints(directory: PathLike) -> list[pathlib.Path]:
    """The checkpoints in `directory` (which may be absent), oldest first: list of path."""
    directory = pathlib.Path(directory)
    if not directory.is_dir():
        return []
    return sorted(
        (path for path in directory.iterdir() if re.fullmatch(r"step-\d{8,}", path.name)),
        key=step_of,
    )


def newest_step(directory: PathLike) -> int:
    """The step of the newest checkpoint in `directory`, intact or not; 0 if there is none."""
    found = checkpoints(directory)
    return step_of(found[-1]) if found else 0


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
    if digest(path / STATE_FILE) != content["sha256"]:
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
    if checksum is not None and checksum != checksum_of(content):
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
    if content["step"] != step_of(path):
        return None, f"{INFO_FILE} is of step {content['step']}, its directory of step {step_of(path)}"
    return content, None


def best_intact(
    directory: PathLike, best_by: str | None, report: Callable[[str], None]
) -> tuple[pathlib.Path, float] | None:
    """(path, score) of the best checkpoint whose state is intact, or None; damaged ones are reported, set aside."""
    for path, score in _best_first(directory, best_by, report):
        problem = damage(path)
        if problem is None:
            return path, score
        report(f"{path}: {problem}; it was the best checkpoint by {best_by}, trying the next best")
        set_aside(path)
    return None


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
                set_aside(path)
        elif best_by in content["scores"]:
            found.append((path, content["scores"][best_by]))
    sign = 1 if is_better(best_by or "", 0, 1) else -1
    return sorted(found, key=lambda item: sign * item[1])


def is_better(name: str, value: float, than: float | None) -> bool:
    """Whether score `value` is better than `than` (None: there is none yet). Of a loss the lower one is better.

    A value that is not finite is no score.
    """
    if not math.isfinite(value):
        return False
    if than is None:
        return True
    return value < than if name.endswith("loss") else value > than


def prune(directory: PathLike, keep: int, best_by: str | None) -> None:
    """Removes all checkpoints but the newest `keep` and the best by the score `best_by`."""
    kept = checkpoints(directory)[-keep:]
    best_first = _best_first(directory, best_by)
    if best_first:
        kept.append(best_first[0][0])
    for path in checkpoints(directory):
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def set_aside(path: pathlib.Path) -> None:
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


def step_of(path: pathlib.Path) -> int:
    """The step in the name of a checkpoint's directory."""
    return int(path.name.removeprefix("step-"))


def checksum_of(content: Mapping[str, Any]) -> str:
    """The checksum of what checkpoint.json says, whatever its layout."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
