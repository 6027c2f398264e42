"""Functions of PyTorch's step that `torch.compile` fuses: they make many passes over large tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

# Programs of one function before PyTorch runs it eagerly. From its second length on, lengths are variables of the
# program: a few are enough for all buckets.
PROGRAMS = 64

_compiling = False
_programs: dict[Callable[..., Any], Callable[..., Any]] = {}


@contextlib.contextmanager
def compiling(compiled: bool) -> Iterator[None]:
    """Context in which `program` compiles if `compiled` (bool)."""
    global _compiling
    before, _compiling = _compiling, compiled
    try:
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
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, PROGRAMS)
        _programs[function] = torch.compile(function)
    return _programs[function]
