"""The pretext tasks by name, one row a task. Other modules ask here and never compare names.

A package of its own can add tasks without a change here, by an entry point in the group `infoxlm_keras.pretext_tasks`
(name = task name, value = `module:class`).
"""

import functools
import importlib
import importlib.metadata
from collections.abc import Iterable

from infoxlm_keras.errors import InputError
from infoxlm_keras.tasks.pretext_task import PretextTask

ENTRY_POINTS = "infoxlm_keras.pretext_tasks"
# The order is that of metrics, logs and tables.
ROWS = {
    "mmlm": "infoxlm_keras.tasks.masked_lm:MMLM",
    "tlm": "infoxlm_keras.tasks.masked_lm:TLM",
    "xlco": "infoxlm_keras.tasks.xlco:XLCO",
    "dwa": "infoxlm_keras.tasks.word_alignment:DWA",
    "mrtd": "infoxlm_keras.tasks.replaced_tokens:MRTD",
    "trtd": "infoxlm_keras.tasks.replaced_tokens:TRTD",
    "distillation": "infoxlm_keras.tasks.distillation:Distillation",
}
# The tasks of a configuration that names none: InfoXLM's.
DEFAULT_TASKS = ("mmlm", "tlm", "xlco")


@functools.cache
def task_classes() -> dict[str, type[PretextTask]]:
    """dict of task name to its class, the project's own first, then those of installed packages.

    Raises:
        InputError: if a package's task cannot be imported, is no `PretextTask`, or takes a name that is taken.
    """
    found = {name: _load(address) for name, address in ROWS.items()}
    for entry in sorted(importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        if entry.name in found:
            raise InputError(f"entry point {entry.name} = {entry.value}: a pretext task has this name already")
        try:
            task = _load(entry.value)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"entry point {entry.name} = {entry.value}: cannot be imported: {error}") from error
        if not (isinstance(task, type) and issubclass(task, PretextTask)) or task.task_name != entry.name:
            raise InputError(
                f"entry point {entry.name} = {entry.value}: is not a PretextTask with the name {entry.name}"
            )
        found[entry.name] = task
    return found


def task_class(name: str) -> type[PretextTask]:
    """The class of the task `name`.

    Raises:
        InputError: if there is none.
    """
    if name not in task_classes():
        raise InputError(f"{name!r}: no such pretext task; there are {', '.join(task_classes())}")
    return task_classes()[name]


def tasks_with_batches(names: Iterable[str]) -> list[str]:
    """list of those of the tasks `names` that have a batch of their own, see `PretextTask.host`."""
    return [name for name in names if task_class(name).host is None]


def _load(address):
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)
