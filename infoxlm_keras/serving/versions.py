"""Where the next version of a model goes, and the model's name at a server; nothing here needs TensorFlow."""

import os
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError


def version_directory(output_dir: PathLike, version: int | None = None) -> pathlib.Path:
    """The path of a new version in `output_dir`.

    Args:
        output_dir: str or path; may not exist yet.
        version: int >= 1, or None for one more than the highest there (servers load the highest).

    Returns:
        path, which does not exist.

    Raises:
        InputError: if `output_dir` is a file, or `version` is below 1 or exists.
    """
    output_dir = pathlib.Path(output_dir)
    if output_dir.is_symlink() and not output_dir.exists():
        raise InputError(f"{output_dir}: is a symbolic link to nothing; remove it, or create its target")
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir}: is a file, not a directory; choose another output directory")
    if version is None:
        names = [path.name for path in output_dir.iterdir()] if output_dir.is_dir() else []
        version = max((int(name) for name in names if name.isascii() and name.isdigit()), default=0) + 1
    if version < 1:
        raise InputError(f"version {version}: must be at least 1")
    directory = output_dir / str(version)
    if os.path.lexists(directory):
        raise InputError(f"{directory}: this version exists; leave the version out to get the next free one")
    return directory


def default_model_name(output_dir: PathLike) -> str:
    """The default name of a model at a server: the name of the directory that holds its versions."""
    return pathlib.Path(os.path.abspath(output_dir)).name
