"""One gradient of the token embedding on PyTorch.

The table is looked up and, tied, multiplied with, in each of a step's tasks. Autograd would make a dense gradient of
each use, as large as the table, and add them. Within `added_in_place` each use adds its own to `weight.grad`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from infoxlm_keras.annotations import Tensor

_tables: set[int] = set()


@contextlib.contextmanager
def added_in_place(table: torch.nn.Parameter) -> Iterator[None]:
    """Context in which functions here and the masked-LM loss add to `table.grad` in their backward passes.

    For `backward()` alone: `torch.autograd.grad` would find nothing. A table that is not trained stays out.
    """
    if not table.requires_grad:
        yield
        return
    _tables.add(id(table))
    try:
        yield
    finally:
        _tables.remove(id(table))


def is_added_in_place(table: Tensor) -> bool:
    """Whether `table` has its gradient added in place now."""
    return id(table) in _tables


def gradient_of(table: torch.nn.Parameter) -> Tensor:
    """`table.grad`; zeros at first."""
    if table.grad is None:
        table.grad = torch.zeros_like(table)
    return table.grad


def look_up_in_place(layer: keras.layers.Layer) -> None:
    """Makes the token embedding `layer` (`ReversibleEmbedding`) look up by `look_up` within `added_in_place`."""
    of_keras = layer.call
    if hasattr(of_keras, "looks_up"):
        return

    def call(inputs: Tensor, reverse: bool = False) -> Any:
        if reverse or isinstance(inputs, keras.KerasTensor) or not is_added_in_place(layer.embeddings.value):
            return of_keras(inputs, reverse=reverse)
        return look_up(inputs, layer.embeddings.value).to(getattr(torch, layer.compute_dtype))

    vars(call)["looks_up"] = True
    layer.call = call


def look_up(ids: Tensor, table: torch.nn.Parameter) -> Tensor:
    """Rows `ids` (int [...]) of `table` [rows, dim], whose gradient is added to `table.grad`."""
    return _LookUp.apply(ids.long(), table)


def add_rows(gradient: Tensor, ids: Tensor, rows: Tensor) -> None:
    """Adds `rows` [n, dim] to rows `ids` (int64 [n]) of `gradient`; equal numbers are added in a fixed order."""
    # The kernels that add rows in place do it one after the other where ids are equal, or in any order; and many
    # tokens are `<mask>`.
    unique, places = torch.unique(ids, return_inverse=True)
    sums = torch.ops.aten.embedding_dense_backward(rows.to(gradient.dtype), places, len(unique), -1, False)
    gradient.index_add_(0, unique, sums)


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ids, table):
        ctx.save_for_backward(ids)
        ctx.table = table
        return functional.embedding(ids, table.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx, of_rows):
        (ids,) = ctx.saved_tensors
        add_rows(gradient_of(ctx.table), ids.flatten(), of_rows.flatten(0, -2))
        return None, None
