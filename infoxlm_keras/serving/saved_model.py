"""Opens exports: compares checksums first, accepts any path, and raises `InputError` for every fault."""

import pathlib
from collections.abc import Collection
from typing import Any

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the SentencePiece ops

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json, without_wildcards
from infoxlm_keras.serving.checksums import check_files

CHECKSUMS_FILE = "assets.extra/checksums.json"
REMEDY = "export the model again (infoxlm export-savedmodel)"


def load_saved_model(directory: PathLike) -> Any:
    """Loads an export with `tf.saved_model.load`.

    Args:
        directory: path of a version. Exports of older releases have no checksums and are opened without a check.

    Raises:
        InputError: if it is no SavedModel, or a file of it is missing or damaged.
    """
    check_export(directory)
    with without_wildcards(directory) as plain, parsing(directory, "a SavedModel that can be opened", REMEDY):
        return tf.saved_model.load(plain, tags=["serve"])


def check_export(directory: PathLike, names: Collection[str] | None = None) -> None:
    """Compares the files of an export with its checksums, if it has any.

    Args:
        directory: path of a version.
        names: list of str, only these of its files; None for all.

    Raises:
        InputError: for the first that is missing or damaged.
    """
    path = pathlib.Path(directory) / CHECKSUMS_FILE
    if not path.exists():
        return
    expected = read_json(path, dict).get("files")
    if names is not None and isinstance(expected, dict):
        expected = {name: entry for name, entry in expected.items() if name in names}
    check_files(directory, expected, path, REMEDY)


def newest_version(directory: PathLike) -> pathlib.Path:
    """`directory` itself if it holds a SavedModel, else its highest version.

    Raises:
        InputError: if neither is there.
    """
    directory = pathlib.Path(directory)
    if (directory / "saved_model.pb").exists():
        return directory
    # A server accepts plain numbers only.
    versions = [path.parent for path in directory.glob("*/saved_model.pb")]
    versions = [path for path in versions if path.name.isascii() and path.name.isdecimal()]
    if not versions:
        raise InputError(f"{directory}: holds no SavedModel; make one with infoxlm export-savedmodel")
    return max(versions, key=lambda path: int(path.name))
