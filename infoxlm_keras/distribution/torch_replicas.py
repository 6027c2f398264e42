"""Communication between the processes that train together, within a step (PyTorch)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import torch
from torch import distributed

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.distribution.current import current_distribution

# Elements of one message: 256 MB in float32. Few large messages use a network best; each needs a copy of its size.
BUCKET = 1 << 26
# Neighbouring layers may have neighbouring seeds: a large odd step keeps all of them apart.
SEED_STEP = 0x9E3779B1


class TorchReplicas:
    """The processes of the current distribution, each with one replica; with one, the methods return their argument.

    Attributes:
        count: int, replicas.
        index: int, the number of this one.
    """

    def __init__(self) -> None:
        distribution = current_distribution()
        self.count = distribution.num_workers
        self.index = distribution.worker

    def sum(self, structure: Any) -> Any:
        """`structure` (nested tensors) summed over the replicas; the result is bit-identical on all of them.

        Tensors of one type travel together, in messages of at most `BUCKET` elements or one tensor.
        """
        if self.count == 1:
            return structure
        tensors = [torch.as_tensor(tensor).detach() for tensor in keras.tree.flatten(structure)]
        results = list(tensors)
        with torch.no_grad():
            for places in _buckets(tensors):
                flat = torch.cat([tensors[place].reshape(-1) for place in places])
                distributed.all_reduce(flat)
                parts = flat.split([tensors[place].numel() for place in places])
                for place, part in zip(places, parts, strict=True):
                    results[place] = part.view(tensors[place].shape)
        return keras.tree.pack_sequence_as(structure, results)

    def join(self, tensor: Tensor, axis: int) -> Tensor:
        """All replicas' `tensor` laid end to end along `axis`, in their order; without gradient."""
        if self.count == 1:
            return tensor
        own = tensor.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(parts, own)
        return torch.cat(parts, dim=axis)

    def copy_from_first(self, variables: list[keras.Variable]) -> None:
        """Gives every process the values of `variables` on the first one."""
        if self.count == 1:
            return
        with torch.no_grad():
            for variable in variables:
                distributed.broadcast(variable.value.data, 0)

    @contextlib.contextmanager
    def own_seeds(self, model: keras.Model) -> Iterator[None]:
        """Context in which the seed generators of `model` draw this replica's numbers; all hold the same outside."""
        if self.index == 0:
            yield
            return
        states = [g.state for layer in model._flatten_layers() for g in getattr(layer, "_seed_generators", ())]
        first = torch.tensor([self.index * SEED_STEP, 0])
        _add(states, first)
        try:
            yield
        finally:
            _add(states, -first)


def _add(states, numbers):
    with torch.no_grad():
        for state in states:
            value = state.value
            state.assign(value + numbers.to(value.device, value.dtype))


def _buckets(tensors):
    """Lists of places in `tensors`: of one type each, in order, of at most `BUCKET` elements or one tensor."""
    found: list[list[int]] = []
    filling: dict[torch.dtype, tuple[list[int], int]] = {}
    for place, tensor in enumerate(tensors):
        places, size = filling.get(tensor.dtype, ([], 0))
        if not places or size + tensor.numel() > BUCKET:
            places, size = [], 0
            found.append(places)
        places.append(place)
        filling[tensor.dtype] = places, size + tensor.numel()
    return found
