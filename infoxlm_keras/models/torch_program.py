"""Functions of PyTorch's step that `torch.compile` fuses: they make many passes over large tensors."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import torch

# Programs of one function before PyTorch runs it eagerly. From its second length on, lengths are variables of the
# program: a few are enough for all buckets.
PROGRAMS = 64

_compiling = False
_programs: dict[Callable[..., Any], Callable[..., Any]] = {}


def reason_not_to_compile(device: torch.device) -> str | None:
    """Why `torch.compile` would not fuse what runs on `device`, or None."""
    if device.type != "cuda":
        return "PyTorch's step is not compiled on a CPU; KERAS_BACKEND=tensorflow or jax compile it"
    if importlib.util.find_spec("triton") is None:
        return "torch.compile needs the package triton on a GPU"
    if torch.cuda.get_device_capability(device)[0] < 7:
        return f"torch.compile cannot compile for {torch.cuda.get_device_name(device)}"
    # As triton looks for them.
    named = os.environ.get("CC")
    if not any(map(shutil.which, ("gcc", "clang") if named is None else (named,))):
        return "torch.compile needs a C compiler: gcc or clang, or another one named by the variable CC"
    header = pathlib.Path(sysconfig.get_paths()["include"], "Python.h")
    if not header.is_file():
        return f"torch.compile needs Python's headers (the package python3-dev), and there is no {header}"
    return None


@contextlib.contextmanager
def compiling(compiled: bool) -> Iterator[None]:
    """Context in which `program` compiles if `compiled` (bool)."""
    global _compiling
    before, _compiling = _compiling, compiled
    try:
        # The name that PyTorch 2.6 has; later ones call it recompile_limit, too.
        with torch._dynamo.config.patch(cache_size_limit=PROGRAMS) if compiled else contextlib.nullcontext():
            yield
    finally:
        _compiling = before


def is_compiling() -> bool:
    """Whether `program` compiles now."""
    return _compiling


def program(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, a function of tensors alone, or within `compiling(True)` what `torch.compile` makes of it."""
    if not _compiling:
        return function
    if function not in _programs:
        _programs[function] = torch.compile(function)
    return _programs[function]
