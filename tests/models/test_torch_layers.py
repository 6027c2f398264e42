"""The Transformer layers of the PyTorch step compute what Keras' layers do, with fewer operations."""

import json
import os
import subprocess
import sys

import numpy as np
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
    by_keras, by_torch = results["dropped"]
    assert by_keras["seeds"] == by_torch["seeds"]
    np.testing.assert_allclose(by_torch["outputs"], by_keras["outputs"], rtol=1e-4, atol=1e-5)
    assert not np.allclose(by_torch["outputs"][0], by_torch["outputs"][1], atol=1e-2)


def test_layers_computed_again_are_exact_in_either_order(results):
    assert max(results["rematerialized"]) < 1e-5


def test_without_fused_attention_the_layers_are_those_of_keras(results):
    assert results["without_kernels"] and all(results["without_kernels"])


def test_rows_are_added_to_the_gradient_of_the_table(results):
    assert results["added_rows"] < 1e-5
