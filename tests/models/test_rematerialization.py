"""Rematerialisation changes no number, on any backend, and does compute the layers a second time."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from infoxlm_keras.config import check_config
from infoxlm_keras.models.rematerialization import rematerialize_layers
from infoxlm_keras.runs.assemble import build_pretrainer
from infoxlm_keras.runs.directory import changed_settings
from rematerialization_worker import STEPS, train_both
from repository import SUPPORT
from tiny_pretraining import array, joint_batch, tiny_masked_lm


def check(plain, again):
    assert len(plain["loss"]) == STEPS
    assert again["twice"] and not plain["twice"]
    np.testing.assert_allclose(again["loss"], plain["loss"], rtol=1e-6)
    np.testing.assert_allclose(again["gradient_norm"], plain["gradient_norm"], rtol=1e-5)
    assert plain["loss"] != plain["without dropout"]
    # A seed of dropout moves once a call, not twice.
    assert again["seeds"] == plain["seeds"]


def test_the_same_losses_gradients_and_seeds():
    check(*train_both())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_on_the_other_backends(backend, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    worker = [sys.executable, SUPPORT / "rematerialization_worker.py", tmp_path / "results.json"]
    subprocess.run(worker, env=environment, check=True)
    check(*json.loads((tmp_path / "results.json").read_text()))


def test_nothing_changes_in_inference_or_in_what_is_saved():
    masked_lm = tiny_masked_lm()
    batch = joint_batch(np.random.default_rng(0))["mmlm"]
    inputs = {name: batch[name] for name in ("token_ids", "padding_mask")}
    before, configuration = array(masked_lm.backbone(inputs)), masked_lm.backbone.get_config()
    rematerialize_layers(masked_lm.backbone)
    calls = [layer.call for layer in masked_lm.backbone.transformer_layers]
    rematerialize_layers(masked_lm.backbone)
    assert [layer.call for layer in masked_lm.backbone.transformer_layers] == calls
    np.testing.assert_array_equal(array(masked_lm.backbone(inputs)), before)
    assert masked_lm.backbone.get_config() == configuration


@pytest.mark.parametrize(("value", "expected"), [("none", False), ("layers", True)])
def test_a_run_does_what_its_configuration_says(value, expected):
    config = check_config({"model": {"rematerialize": value}, "tasks": ["mmlm"], "jit_compile": False})
    pretrainer = build_pretrainer(config, tiny_masked_lm())
    layers = pretrainer.backbone.transformer_layers
    assert [getattr(layer.call, "rematerializes", False) for layer in layers] == [expected] * len(layers)


def test_a_run_may_be_continued_with_another_choice(tmp_path):
    config = check_config({})
    model = config.model.model_copy(update={"rematerialize": "layers"})
    lines = changed_settings(config, config.model_copy(update={"model": model}), tmp_path / "config.yaml")
    assert lines == ["model.rematerialize: was 'none', is 'layers'"]
