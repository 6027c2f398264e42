"""The Transformer layers of the PyTorch step compute what Keras' layers do, with fewer operations."""

import json
import os
import subprocess
import sys

import pytest

from repository import SUPPORT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    path = tmp_path_factory.mktemp("layers") / "results.json"
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    subprocess.run([sys.executable, SUPPORT / "torch_layers_worker.py", path], env=environment, check=True)
    return json.loads(path.read_text())


@pytest.mark.parametrize("kind", ["float32", "compiled"])
def test_states_and_gradients_are_exact_at_each_length_with_and_without_padding(results, kind):
    for _, by_torch in results[kind]:
        assert by_torch < 1e-5


@pytest.mark.parametrize("kind", ["mixed_bfloat16", "many_rows"])
def test_half_precision_is_as_exact_as_that_of_keras(results, kind):
    for by_keras, by_torch in results[kind]:
        assert by_torch < 1.2 * by_keras < 0.2


def test_attention_is_fused_and_has_a_mask_only_where_there_is_padding(results):
    assert results["full"] == [False, False]
    assert results["padded"] == [True, True]


def test_dropout_draws_the_same_numbers_from_the_same_seeds(results):
    found = results["dropped"]
    assert max(found["errors"]) < 1e-5
    assert found["moved"] and all(found["seeds"])


def test_layers_computed_again_are_exact_in_either_order(results):
    assert max(results["rematerialized"]) < 1e-5


def test_what_the_layers_do_not_compute_is_left_to_keras(results):
    found = results["left to Keras"]
    assert not found.pop("plain")
    assert found and all(found.values())
    assert results["others stay"]


def test_lora_trains_through_several_backward_passes_of_a_step(results):
    assert results["lora"] > 1e-4


def test_outside_of_a_step_the_model_is_that_of_keras(results):
    assert max(results["outside"]) < 1e-6


def test_rows_of_nothing_but_padding_and_empty_batches(results):
    assert results["padded rows"] < 1e-5
    assert results["empty"] == [0, 6, 8]


def test_the_compiled_loss_is_the_same(results):
    assert results["compiled loss"] < 1e-5


def test_a_mask_has_the_precision_of_the_model_that_asks(results):
    assert results["mask dtypes"] == ["torch.float32", "torch.bfloat16", "torch.float32"]


def test_half_precision_draws_no_piece_without_probability(results):
    last, different = results["last pieces drawn"]
    assert last == 0 and different > 10


def test_rows_are_added_to_the_gradient_of_the_table(results):
    assert results["added_rows"] < 1e-5
