"""Reads and writes named tensors in safetensors files, with one tensor or one shard in memory at a time."""

import contextlib
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np
import safetensors
import safetensors.numpy

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.choices import WEIGHT_DTYPES
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json, write_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_SHARD = re.compile(r"model-(\d{1,6})-of-(\d{1,6})\.safetensors")
_FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")


class TensorFiles:
    """The tensors of one or several safetensors files; each tensor is read on request.

    Args:
        paths: list of path.

    Attributes:
        metadata: dict of str to str, the metadata of all files.

    Raises:
        InputError: if a file is missing or damaged, or two hold a tensor of the same name.

    As a context manager it closes the files at the end.
    """

    def __init__(self, paths: Iterable[PathLike]) -> None:
        # Open files of the `safetensors` library, which gives its class no public name.
        self._files: dict[str, Any] = {}
        self._paths: dict[str, pathlib.Path] = {}
        self.metadata: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        for path in paths:
            self._open(pathlib.Path(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the files."""
        self._files.clear()
        self._stack.close()

    @property
    def names(self) -> list[str]:
        """Names of all tensors, list of str."""
        return list(self._files)

    def path(self, name: str) -> pathlib.Path:
        """The file that holds tensor `name`."""
        return self._paths[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of tensor `name`, tuple of int; its content is not read."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name: str, rows: slice | None = None) -> Array:
        """Tensor `name`, or its `rows` (a slice), as a NumPy array in the dtype stored.

        Raises:
            InputError: if it holds no floating-point numbers.
        """
        self.check_dtype(name)
        tensor = self._files[name].get_slice(name)
        return tensor[:] if rows is None else tensor[rows]

    def check_dtype(self, name: str) -> None:
        """Raises InputError unless tensor `name` holds floating-point numbers; its content is not read."""
        dtype = self._files[name].get_slice(name).get_dtype()
        if dtype not in _FLOAT_DTYPES:
            raise InputError(
                f"{self._paths[name]}: {name} has dtype {dtype}; only {', '.join(_FLOAT_DTYPES)} are read "
                "(a quantized model cannot be converted)"
            )

    def _open(self, path):
        if not path.is_file():
            raise InputError(f"{path}: {'is not a file' if path.exists() else 'no such file'}")
        with parsing(path, "an intact safetensors file", "fetch it again"):
            file = self._stack.enter_context(safetensors.safe_open(str(path), framework="np"))
            names = list(file.keys())
            metadata = file.metadata() or {}
        self.metadata.update(metadata)
        for name in names:
            if name in self._files:
                raise InputError(f"{path}: holds {name}, as {self._paths[name].name} does")
            self._files[name] = file
            self._paths[name] = path


def find_tensor_files(directory: PathLike) -> list[pathlib.Path]:
    """The files of `model.safetensors` or of its shards, list of path; empty if there are none.

    Raises:
        InputError: if the index of the shards is damaged.
    """
    directory = pathlib.Path(directory)
    index = directory / INDEX_FILE
    if os.path.lexists(directory / SINGLE_FILE):
        return [directory / SINGLE_FILE]
    if not os.path.lexists(index):
        return _shards_without_index(directory)
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: has no weight_map of tensor names to files")
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise InputError(f"{index}: names the file {name!r}, which is not beside it")
    return [directory / name for name in names]


def _shards_without_index(directory):
    """The files of all shards, found by the numbers in their names; empty if there are none.

    Raises:
        InputError: if one is missing.
    """
    found = {path: _SHARD.fullmatch(path.name) for path in sorted(directory.glob("model-*-of-*.safetensors"))}
    shards = {path: (int(match[1]), int(match[2])) for path, match in found.items() if match}
    if not shards:
        return []
    counts = {count for _, count in shards.values()}
    numbers = [number for number, _ in shards.values()]
    if len(counts) != 1 or numbers != list(range(1, counts.pop() + 1)):
        names = ", ".join(path.name for path in shards)
        raise InputError(f"{directory}: holds the shards {names} without {INDEX_FILE}; some are missing, fetch them")
    return list(shards)


def write_tensors(
    directory: pathlib.Path,
    tensors: Sequence[tuple[str, tuple[int, ...], Callable[[], Array]]],
    dtype: str = "float32",
    max_shard_bytes: int = 5 * 10**9,
    progress: Callable[[int], object] | None = None,
) -> list[str]:
    """Writes `model.safetensors`, or shards and their index if that exceeds `max_shard_bytes`.

    Args:
        directory: path.
        tensors: list of (name, shape, function without arguments that gives the array). One shard at a time is
            in memory.
        dtype: one of `infoxlm_keras.choices.WEIGHT_DTYPES`.
        max_shard_bytes: int; a single tensor may be larger.
        progress: optional function that is called with the number of bytes just produced.

    Returns:
        list of the names of the files that hold tensors.

    Raises:
        InputError: if a value does not fit `dtype`.
    """
    if dtype not in WEIGHT_DTYPES:
        raise InputError(f"--dtype {dtype}: must be one of {', '.join(WEIGHT_DTYPES)}")
    numpy_dtype = _numpy_dtype(dtype)
    sizes = {name: math.prod(shape) * numpy_dtype.itemsize for name, shape, _ in tensors}
    shards = _plan(sizes, max_shard_bytes)
    functions = {name: function for name, _, function in tensors}
    files = (
        [SINGLE_FILE]
        if len(shards) == 1
        else [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    )
    for file, names in zip(files, shards, strict=True):
        arrays = {}
        for name in names:
            arrays[name] = _cast(name, functions[name](), numpy_dtype)
            if progress is not None:
                progress(sizes[name])
        # transformers requires this entry.
        save_file(directory / file, arrays, {"format": "pt"})
    if len(files) > 1:
        weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        write_json(directory / INDEX_FILE, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})
    return files


def save_file(path: PathLike, arrays: dict[str, Array], metadata: dict[str, str] | None = None) -> None:
    """Writes `arrays` (dict of name to contiguous array) to one safetensors file with the usual permissions."""
    path = pathlib.Path(path)
    path.touch()
    mode = path.stat().st_mode
    safetensors.numpy.save_file(arrays, path, metadata=metadata)
    # The library creates files that only their owner can read.
    path.chmod(mode)


def parse_size(text: str) -> int:
    """Bytes in `text` such as `500MB` or `5GB` (decimal units).

    Raises:
        InputError: if `text` is no size.
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if text.upper().endswith(unit):
            number = text[: -len(unit)].strip()
            try:
                size = int(float(number) * factor)
            except (ValueError, OverflowError):
                break
            if size >= 1:
                return size
    raise InputError(f"--max_shard_size {text}: must be a size such as 500MB or 5GB")


def _plan(sizes, limit):
    """Names in order, cut into shards of at most `limit` bytes."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _numpy_dtype(name):
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _cast(name, array, dtype):
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(cast).all() and np.isfinite(array).all():
        raise InputError(f"--dtype {dtype}: {name} has values beyond its range; choose bfloat16 or float32")
    return cast
