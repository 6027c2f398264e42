"""Masked-LM cross-entropy on PyTorch: a chunk of predictions at a time, over the whole vocabulary.

Loss and gradient of a chunk come from its logits at once, so that no logit is computed twice. Of a single chunk one
number a logit is kept until the backward pass, of several chunks a gradient as large as the table. Keras'
cross-entropy would hold float32 logits, their logarithms and one-hot labels of all predictions.
"""

from __future__ import annotations

import torch
from torch.autograd.function import once_differentiable

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.losses.masked_lm import MaskedLMLoss
from infoxlm_keras.models.torch_program import is_compiling, program
from infoxlm_keras.models.torch_table import gradient_of, is_added_in_place

# XLM-R has 250,002 pieces. GPUs multiply half-precision matrices faster whose rows begin at multiples of 16 bytes: for
# others cuBLAS took kernels of an older generation of GPUs, at 230 TFLOP/s on an H200.
TILE = 8


def masked_lm_loss_by_rows(
    features: Tensor,
    table: Tensor,
    bias: Tensor,
    mask_ids: Tensor,
    mask_weights: Tensor,
    rows: int,
) -> MaskedLMLoss:
    """`masked_lm_loss` of `features @ table.T + bias`, and its gradient if autograd wants one.

    Args:
        features: [predictions, dim], float32 or half precision; the products are of this dtype.
        table: float32 [vocabulary_size, dim], the tied token embedding.
        bias: float32 [vocabulary_size]; in half precision it is added before a logit is rounded.
        mask_ids: int32 [predictions].
        mask_weights: float32 [predictions].
        rows: int > 0, predictions in a chunk.

    Returns:
        `MaskedLMLoss`; its `log_sum` has no gradient.
    """
    wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (features, table, bias))
    return MaskedLMLoss(*_Loss.apply(features, table, bias, mask_ids.long(), mask_weights, rows, wanted))


def chunk_statistics(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, whether the likeliest piece is right, float32 log-probabilities) of `logits` [n, vocabulary_size]."""
    log_probabilities = torch.log_softmax(logits, 1, dtype=torch.float32)
    losses = -log_probabilities.gather(1, ids[:, None])[:, 0]
    return losses, log_probabilities.argmax(1) == ids, log_probabilities


def chunk_gradient(
    log_probabilities: Tensor, ids: Tensor, weights: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(`softmax - onehot` in `dtype` [n, vocabulary_size], the bias' gradient); it overwrites `log_probabilities`."""
    differences = log_probabilities.exp_()
    differences[torch.arange(len(ids), device=ids.device), ids] -= 1.0
    return differences.to(dtype), torch.mv(differences.t(), weights)


def fused_chunk(
    logits: Tensor, ids: Tensor, weights: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`chunk_statistics` without the log-probabilities, and `chunk_gradient`, for `torch.compile` to fuse."""
    losses, right, log_probabilities = chunk_statistics(logits, ids)
    is_label = torch.arange(logits.shape[1], device=ids.device) == ids[:, None]
    differences = log_probabilities.exp() - is_label.to(torch.float32)
    return losses, right, differences.to(dtype), (differences * weights[:, None]).sum(0)


class _Loss(torch.autograd.Function):
    """(loss_sum, correct_sum, log_sum) of `masked_lm_loss_by_rows`."""

    @staticmethod
    def forward(ctx, features, table, bias, ids, weights, rows, wanted):
        # Most probabilities are below float16's smallest number.
        dtype = torch.float32 if features.dtype == torch.float16 else features.dtype
        pieces, offset = _padded(table, bias, features.dtype)
        factors = pieces.to(dtype) if wanted else None
        chunks = [slice(start, start + rows) for start in range(0, max(len(ids), 1), rows)]
        losses, right, log_sums, of_features, of_bias = [], [], [], [], torch.zeros_like(bias)
        of_table = torch.zeros_like(table) if wanted and table.requires_grad and len(chunks) > 1 else None
        for chunk in chunks:
            logits = torch.addmm(offset, features[chunk], pieces.t())
            of_labels = logits.gather(1, ids[chunk, None])[:, 0].float()
            if not wanted:
                loss, is_right, _ = chunk_statistics(logits, ids[chunk])
            elif is_compiling():
                loss, is_right, differences, more = program(fused_chunk)(logits, ids[chunk], weights[chunk], dtype)
            else:
                loss, is_right, log_probabilities = chunk_statistics(logits, ids[chunk])
                del logits
                differences, more = chunk_gradient(log_probabilities, ids[chunk], weights[chunk], dtype)
                del log_probabilities
            losses.append(loss)
            right.append(is_right)
            log_sums.append(of_labels + loss)
            if not wanted:
                continue
            of_bias += more[: len(bias)]
            # The weights are in the smaller factor: [n, dim] instead of [n, vocabulary_size].
            weighted = (weights[chunk, None] * features[chunk]).to(dtype)
            of_features.append(weights[chunk, None] * (differences @ factors))
            if of_table is not None:
                _add_product(of_table, differences.t(), weighted)
        all_losses = torch.cat(losses)
        if wanted:
            ctx.table, ctx.dtype = table, features.dtype
            kept = [] if of_table is None else [of_table]
            if table.requires_grad and of_table is None:
                # The gradient of a single chunk is not made before there is a place for it.
                kept = [differences, weighted]
            ctx.save_for_backward(torch.cat(of_features), of_bias, *kept)
        ctx.set_materialize_grads(False)
        correct_sum, log_sum = (torch.cat(right) * weights).sum(), torch.cat(log_sums)
        ctx.mark_non_differentiable(correct_sum, log_sum)
        return (all_losses * weights).sum(), correct_sum, log_sum

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream, _correct, _log_sum):
        if upstream is None:
            return (None,) * 7
        of_features, of_bias, *kept = ctx.saved_tensors
        of_table = None
        if ctx.needs_input_grad[1]:
            in_place = is_added_in_place(ctx.table)
            of_table = gradient_of(ctx.table) if in_place else torch.zeros_like(ctx.table)
            if len(kept) == 1:
                of_table.addcmul_(kept[0], upstream)
            else:
                differences, weighted = kept
                _add_product(of_table, differences.t(), (upstream * weighted).to(weighted.dtype))
            of_table = None if in_place else of_table
        of_features = (upstream * of_features).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_features, of_table, upstream * of_bias, None, None, None, None


def _padded(table, bias, dtype):
    """(table, bias) in `dtype`; in half precision with pieces of probability 0 up to a multiple of `TILE`."""
    if dtype == torch.float32:
        return table, bias  # no copies
    padded = -(-len(table) // TILE) * TILE
    pieces = table.new_zeros([padded, table.shape[1]], dtype=dtype)
    offset = bias.new_full([padded], -torch.inf, dtype=dtype)
    pieces[: len(table)] = table
    offset[: len(bias)] = bias
    return pieces, offset


def _add_product(total, left, right):
    """Adds the first rows of `left @ right` to `total`, float32, in place."""
    if left.dtype == total.dtype and len(left) == len(total):
        torch.addmm(total, left, right, out=total)
    else:
        total += (left @ right)[: len(total)]
