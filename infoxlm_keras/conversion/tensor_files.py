"""Named tensors in safetensors files, read and written without holding more than is needed."""

import contextlib
import math
import pathlib

import numpy as np
import safetensors
import safetensors.numpy

from infoxlm_keras.choices import WEIGHT_DTYPES
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json, write_json

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")


class TensorFiles:
    """The tensors of one or several safetensors files; each is read when it is asked for.

    Args:
        paths: list of path.

    Attributes:
        metadata: dict of str to str, what the files say about themselves.

    Raises:
        InputError: if a file is missing or damaged, or two hold a tensor of the same name.

    Used as a context manager, it closes the files at the end.
    """

    def __init__(self, paths):
        self._files = {}
        self._paths = {}
        self.metadata = {}
        self._stack = contextlib.ExitStack()
        for path in paths:
            self._open(pathlib.Path(path))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._files.clear()
        self._stack.close()

    @property
    def names(self):
        """Names of all tensors, list of str."""
        return list(self._files)

    def path(self, name):
        """The file that holds tensor `name`."""
        return self._paths[name]

    def shape(self, name):
        """Shape of tensor `name`, tuple of int; its content is not read."""
        return tuple(self._files[name].get_slice(name).get_shape())

    def read(self, name, rows=None):
        """Tensor `name`, or its `rows` (a slice), as a NumPy array in the dtype stored.

        Raises:
            InputError: if it holds no floating-point numbers.
        """
        tensor = self._files[name].get_slice(name)
        dtype = tensor.get_dtype()
        if dtype not in _FLOAT_DTYPES:
            raise InputError(
                f"{self._paths[name]}: {name} has dtype {dtype}; only {', '.join(_FLOAT_DTYPES)} are read "
                "(a quantized model cannot be converted)"
            )
        return tensor[:] if rows is None else tensor[rows]

    def _open(self, path):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            file = self._stack.enter_context(safetensors.safe_open(str(path), framework="np"))
        except safetensors.SafetensorError as error:
            raise InputError(f"{path}: is not an intact safetensors file ({error}); fetch it again") from None
        self.metadata.update(file.metadata() or {})
        for name in file.keys():
            if name in self._files:
                raise InputError(f"{path}: holds {name}, as {self._paths[name].name} does")
            self._files[name] = file
            self._paths[name] = path


def find_tensor_files(directory):
    """The files of `model.safetensors` or of its shards, list of path; empty if there are none.

    Raises:
        InputError: if the index of the shards is damaged.
    """
    directory = pathlib.Path(directory)
    index = directory / INDEX_FILE
    if (directory / SINGLE_FILE).is_file():
        return [directory / SINGLE_FILE]
    if not index.is_file():
        return []
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: has no weight_map of tensor names to files")
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise InputError(f"{index}: names the file {name!r}, which is not beside it")
    return [directory / name for name in names]


def write_tensors(directory, tensors, dtype="float32", max_shard_bytes=5 * 10**9, progress=None):
    """Writes `model.safetensors`, or shards and their index if that exceeds `max_shard_bytes`.

    Args:
        directory: path.
        tensors: list of (name, shape, function without arguments that gives the array). One shard at a time is
            in memory.
        dtype: one of `infoxlm_keras.choices.WEIGHT_DTYPES`.
        max_shard_bytes: int; a single tensor may be larger.
        progress: optional function that is called with the number of bytes just made.

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
        # transformers wants to be told the format.
        save_file(directory / file, arrays, {"format": "pt"})
    if len(files) > 1:
        weight_map = {name: file for file, names in zip(files, shards, strict=True) for name in names}
        write_json(directory / INDEX_FILE, {"metadata": {"total_size": sum(sizes.values())}, "weight_map": weight_map})
    return files


def save_file(path, arrays, metadata=None):
    """Writes one safetensors file of `arrays` (dict of name to contiguous array), readable as other new files are."""
    path = pathlib.Path(path)
    path.touch()
    mode = path.stat().st_mode
    safetensors.numpy.save_file(arrays, path, metadata=metadata)
    # The library makes files for the owner alone.
    path.chmod(mode)


def parse_size(text):
    """Bytes in `text` such as `500MB` or `5GB` (decimal units).

    Raises:
        InputError: if it is no size.
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
    shards, filled = [[]], 0
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
