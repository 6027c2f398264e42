"""The moving average on PyTorch: in place, and all tensors in a few kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from infoxlm_keras.annotations import Tensor


@torch.no_grad()
def move_in_place(
    pairs: Sequence[tuple[Tensor, Tensor]], compensated: Sequence[bool], errors: Tensor, momentum: Tensor
) -> None:
    """One step of `MovingAverage.update`, by the same formula.

    Args:
        pairs: list of (key, query), float32 tensors; the keys change.
        compensated: list of bool, which keys (one-dimensional ones) have a rounding error stored.
        errors: float32 [all numbers of the compensated keys], in order; it changes.
        momentum: float32 scalar m.
    """
    momentum = torch.as_tensor(momentum, dtype=torch.float32, device=errors.device)
    plain = [pair for pair, has_error in zip(pairs, compensated, strict=True) if not has_error]
    if plain:
        keys, queries = zip(*plain, strict=True)
        # As a number, which the grouped kernel takes; the step has just waited for the device.
        torch._foreach_lerp_(list(keys), [query.detach() for query in queries], float(1.0 - momentum))
    small = [pair for pair, has_error in zip(pairs, compensated, strict=True) if has_error]
    if not small:
        return
    keys, queries = zip(*small, strict=True)
    # Copies, even of a single tensor.
    key, query = torch.cat(keys), torch.cat([query.detach() for query in queries])
    step = (1.0 - momentum) * (query - key) + momentum * errors
    copied = momentum == 0.0
    moved = torch.where(copied, query, key + step)
    errors.copy_(torch.where(copied, 0.0, step - (moved - key)))
    torch._foreach_copy_(list(keys), list(moved.split([len(key) for key in keys])))
