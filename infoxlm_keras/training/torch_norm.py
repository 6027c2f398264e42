"""The norm of gradients on PyTorch, as exact for a table of 200 million numbers as for a bias."""

from collections.abc import Sequence

import torch

# Numbers that may be summed in float32 one after another.
BLOCK = 512


def exact_global_norm(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Euclidean norm of all gradients as one vector, float32 scalar, to a relative error of 1e-6.

    On CPUs PyTorch's own norms add the squares of a whole tensor in a few float32 sums: for [250002, 768] normal
    numbers the result is 2.8% too small. Here a float32 sum holds a block, and float64 sums the blocks.

    Args:
        gradients: floating tensors on one device, at least one with a number.

    >>> float(exact_global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]))
    5.0
    """
    if gradients[0].is_cuda:
        # There a kernel sums in as many parts as it has threads.
        return torch.linalg.vector_norm(
            torch.stack(torch._foreach_norm(list(gradients), dtype=torch.float32)), dtype=torch.float64
        ).float()
    norms, rests = [], []
    for gradient in gradients:
        numbers = gradient.reshape(-1)
        whole = numbers.numel() // BLOCK * BLOCK
        if whole:
            blocks = numbers[:whole].view(-1, BLOCK)
            norms.append(torch.linalg.vector_norm(blocks, dim=1, dtype=torch.float32))
        if whole < numbers.numel():
            rests.append(numbers[whole:])
    if rests:
        # One call: small tensors are many, and a call takes longer than they do.
        norms.append(torch.stack(torch._foreach_norm(rests, dtype=torch.float32)))
    return torch.linalg.vector_norm(torch.cat(norms), dtype=torch.float64).float()
