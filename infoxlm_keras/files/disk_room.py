"""Checks the free disk space for weights before another library writes them."""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike

if TYPE_CHECKING:
    import keras

_BLOCK_BYTES = 1 << 20
# What HDF5 takes besides the numbers, for a file and for an array in it, at most.
_FILE_BYTES, _ARRAY_BYTES = 1 << 16, 1 << 12


def check_room(directory: PathLike, *models: keras.Model) -> None:
    """Raises an `OSError` that names `directory` unless the weights of each of `models` can be written there.

    h5py does not survive a disk that is full when it closes a file, nor a limit on the size of files: the process
    ends with a segmentation fault.

    Args:
        directory: str or path, existing.
        models: Keras models; each gets a file with all of its weights.
    """
    check_sizes(directory, [_size(model) for model in models])


def check_sizes(directory: PathLike, sizes: Sequence[int]) -> None:
    """Raises an `OSError` that names `directory` unless files of these `sizes` can be written there.

    Args:
        directory: str or path, existing.
        sizes: sequence of int, bytes; at least one.
    """
    directory = os.fspath(directory)
    check_free(directory, sum(sizes))
    try:
        # Written and removed again, which meets every kind of limit.
        with tempfile.TemporaryFile(dir=directory) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, max(sizes))
            else:
                for _ in range(0, max(sizes), _BLOCK_BYTES):
                    file.write(bytes(_BLOCK_BYTES))
    except OSError as error:
        raise OSError(error.errno, error.strerror, directory) from error


def check_free(directory: PathLike, size: int) -> None:
    """Raises an `OSError` that names `directory` (existing) if the disk has less than `size` (int) bytes free.

    Unlike `check_sizes` it writes nothing, and knows nothing of quotas and limits.
    """
    usage = shutil.disk_usage(directory)
    # Some file systems do not say how large they are.
    if usage.total and usage.free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(directory))


def _size(model):
    """int: bytes of a model's weights in a file, at most."""
    numbers = sum(math.prod(weight.shape) * (8 if "64" in str(weight.dtype) else 4) for weight in model.weights)
    return numbers + _ARRAY_BYTES * len(model.weights) + _FILE_BYTES
