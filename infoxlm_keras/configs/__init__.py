"""The configurations that the package brings, by name."""

import os
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import local_copy

CONFIGURATIONS = pathlib.Path(__file__).parent


def shipped_configurations() -> list[str]:
    """The names of the configurations that the package brings: sorted list of str."""
    return sorted(file.stem for file in CONFIGURATIONS.glob("*.yaml"))


def find_config(source: PathLike) -> pathlib.Path:
    """The path of a configuration: `source` itself, or the shipped one of that name.

    Args:
        source: str or path: a YAML file, its address in a store, or a name such as `"demo"`.

    Raises:
        InputError: if there is neither.
    """
    path = local_copy(source)
    # A link to nothing exists, too: whoever opens it says so.
    if os.path.lexists(path):
        return path
    names = shipped_configurations()
    if not path.suffix and len(path.parts) == 1 and str(source) in names:
        return CONFIGURATIONS / f"{source}.yaml"
    raise InputError(
        f"configuration {source}: no such file, and no shipped configuration; these are shipped: {', '.join(names)}"
    )
