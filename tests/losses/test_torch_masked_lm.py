"""The masked-LM loss of the PyTorch step, against PyTorch's cross-entropy in float64."""

import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from infoxlm_keras.losses.torch_masked_lm import masked_lm_loss_by_rows
from infoxlm_keras.models.torch_table import added_in_place

DIM = 12


class Products(TorchDispatchMode):
    """Counts products of matrices."""

    number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.number += function.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm)
        return function(*args, **(kwargs or {}))


def arguments(predictions=9, vocabulary=37, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(predictions, DIM, generator=generator).to(dtype)
    table = torch.randn(vocabulary, DIM, generator=generator)
    bias = torch.randn(vocabulary, generator=generator)
    ids = torch.randint(0, vocabulary, (predictions,), generator=generator, dtype=torch.int32)
    # The last piece stands beside those that half precision adds.
    ids[:1] = vocabulary - 1
    weights = torch.rand(predictions, generator=generator)
    weights[1:2] = 0.0
    return features, table, bias, ids, weights


def exact(features, table, bias, ids, weights):
    """(loss, gradients of 3 times the loss, logsumexp, number of right guesses) in float64."""
    leaves = [tensor.double().requires_grad_() for tensor in (features, table, bias)]
    logits = leaves[0] @ leaves[1].T + leaves[2]
    losses = torch.nn.functional.cross_entropy(logits, ids.long(), reduction="none")
    loss = (losses * weights).sum()
    (3.0 * loss).backward()
    right = ((logits.argmax(1) == ids) * weights).sum()
    return loss, [leaf.grad for leaf in leaves], torch.logsumexp(logits, 1), right


def ours(features, table, bias, ids, weights, rows, in_place=False, before=None):
    leaves = [features.clone().requires_grad_(), *(torch.nn.Parameter(part.clone()) for part in (table, bias))]
    leaves[1].grad = None if before is None else before.clone()
    with added_in_place(leaves[1]) if in_place else contextlib.nullcontext():
        loss = masked_lm_loss_by_rows(*leaves, ids, weights, rows)
        (3.0 * loss.loss_sum).backward()
    return loss, [leaf.grad for leaf in leaves]


def relative(found, expected):
    found, expected = found.detach().double(), expected.detach()
    # Where a guess is nearly sure, its gradient is the small difference of two numbers.
    return float((found - expected).norm() / expected.norm().clamp_min(0.05))


def check(found, expected, tolerance):
    (loss, gradients), (exact_loss, exact_gradients, log_sum, right) = found, expected
    assert relative(loss.loss_sum, exact_loss) < tolerance
    assert relative(loss.log_sum, log_sum) < tolerance
    assert abs(float(loss.correct_sum) - float(right)) < 1e-5
    for one, other in zip(gradients, exact_gradients, strict=True):
        assert relative(one, other) < tolerance


@given(
    predictions=st.integers(1, 12),
    vocabulary=st.integers(2, 40),
    rows=st.integers(1, 15),
    in_place=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40)
def test_equal_to_the_cross_entropy_in_value_and_every_gradient(predictions, vocabulary, rows, in_place, seed):
    values = arguments(predictions, vocabulary, seed=seed)
    check(ours(*values, rows, in_place), exact(*values), 2e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)])
@pytest.mark.parametrize("rows", [4, 100])
@pytest.mark.parametrize("in_place", [False, True])
def test_half_precision_is_near_and_pieces_that_fill_up_take_no_part(dtype, tolerance, rows, in_place):
    values = arguments(predictions=20, dtype=dtype)
    found = ours(*values, rows, in_place)
    check(found, exact(*values), tolerance)
    assert found[1][0].dtype == dtype and found[1][1].shape == values[1].shape


def test_in_place_the_gradient_comes_to_what_is_there():
    values = arguments()
    before = torch.ones_like(values[1])
    for rows in (4, 100):
        added = ours(*values, rows, in_place=True, before=before)[1][1]
        torch.testing.assert_close(added - before, ours(*values, rows)[1][1], rtol=1e-4, atol=1e-5)


def test_without_gradients_there_is_the_same_value_and_nothing_is_kept():
    features, table, bias, ids, weights = arguments()
    features.requires_grad_()
    with torch.no_grad():
        loss = masked_lm_loss_by_rows(features, table, bias, ids, weights, 4)
    assert relative(loss.loss_sum, exact(features.detach(), table, bias, ids, weights)[0]) < 1e-6
    assert not loss.loss_sum.requires_grad


def test_no_predictions_have_no_loss_and_no_gradient():
    features, table, bias, ids, weights = arguments()
    values = (features[:0], table, bias, ids[:0], weights[:0])
    for in_place in (False, True):
        loss, gradients = ours(*values, 4, in_place)
        assert loss.loss_sum.item() == 0.0
        assert not any(gradient.any() for gradient in gradients)


def test_a_table_that_is_not_trained_gets_no_gradient():
    features, table, bias, ids, weights = arguments()
    frozen = torch.nn.Parameter(table, requires_grad=False)
    features.requires_grad_()
    expected = exact(features.detach(), table, bias, ids, weights)[1][0]
    for rows, products in ((4, 3 * 2), (100, 2)):
        features.grad = None
        with added_in_place(frozen), Products() as counter:
            masked_lm_loss_by_rows(features, frozen, bias, ids, weights, rows).loss_sum.backward()
        # Logits and the gradient of the features, of each chunk.
        assert frozen.grad is None and counter.number == products
        assert relative(3.0 * features.grad, expected) < 2e-5
