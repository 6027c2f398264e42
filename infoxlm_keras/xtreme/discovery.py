"""Finds the files of XTREME's tasks in a folder, by the names that they have as distributed."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.text.languages import language_or_none
from infoxlm_keras.xtreme.tasks import TASKS, Split


@dataclasses.dataclass
class TaskFiles:
    """What was found for a task.

    Attributes:
        files: {split: list of path}, sorted.
        missing: list of str, the needed files that are not there, as a user knows them.
        others: list of path, files of languages that the task does not have.
    """

    files: dict[str, list[pathlib.Path]] = dataclasses.field(default_factory=dict)
    missing: list[str] = dataclasses.field(default_factory=list)
    others: list[pathlib.Path] = dataclasses.field(default_factory=list)


def find_tasks(data_dir: PathLike, tasks: Iterable[str] = tuple(TASKS)) -> dict[str, TaskFiles]:
    """The files of `tasks` (names in `TASKS`) anywhere below `data_dir`, {task: `TaskFiles`}.

    Raises:
        InputError: if `data_dir` is no folder.
    """
    root = pathlib.Path(data_dir)
    if not root.is_dir():
        raise InputError(f"--data_dir {root}: is no folder; give the one that holds the data sets")
    paths = sorted(_paths(root))
    found = {}
    for name in tasks:
        task, result = TASKS[name], TaskFiles()
        for split_name, split in task.splits.items():
            result.files[split_name], others = _matching(split, paths, root, task.languages)
            result.others += others
            if split.needed and not result.files[split_name]:
                result.missing.append(split.named)
        found[name] = result
    return found


def _paths(root):
    """The paths below `root`, relative and with slashes."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in files:
            yield pathlib.Path(folder, file).relative_to(root).as_posix()


def _matching(split: Split, paths, root, languages):
    """(taken, others): the paths of the first pattern that any of `paths` matches, and those of other languages."""
    others: list[pathlib.Path] = []
    names = set(map(language_or_none, languages)) - {None}
    for pattern in split.patterns:
        expression = re.compile(pattern)
        taken: list[pathlib.Path] = []
        for path in paths:
            match = expression.fullmatch(path.lower())
            if match:
                language = match.groupdict().get("language")
                (taken if language is None or language_or_none(language) in names else others).append(root / path)
        if taken:
            return taken, others
    return [], others
