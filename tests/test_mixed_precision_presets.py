"""Presets of models trained in mixed precision: everybody opens them, with the same weights."""

import json

import keras
import keras_hub
import numpy as np
import pytest

from infoxlm_keras.models import EncoderSize, build_masked_lm
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained

SIZE = EncoderSize(num_layers=1, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=64)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16", "float32"])
def saved(request, tokenizer, tmp_path):
    """(policy, model, its preset directory)."""
    masked_lm = build_masked_lm(SIZE, tokenizer.vocabulary_size, dtype=request.param)
    info = PretrainingInfo(universal_layer=1, steps=3, tasks=["mmlm"], tokenizer_fingerprint=tokenizer.fingerprint)
    save_pretrained(tmp_path / "model", masked_lm, tokenizer, info)
    assert masked_lm.backbone.dtype_policy.name == request.param
    return request.param, masked_lm, tmp_path / "model"


def assert_equal_weights(masked_lm, other):
    for one, two in zip(masked_lm.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", [None, "float32", "mixed_bfloat16"])
def test_it_opens_under_any_policy(saved, dtype):
    _, masked_lm, directory = saved
    opened = load_pretrained(directory, dtype=dtype)
    assert opened.backbone.dtype_policy.name == (dtype or keras.config.dtype_policy().name)
    assert opened.has_head
    assert_equal_weights(masked_lm, opened.masked_lm)


def test_keras_hub_opens_it(saved):
    _, masked_lm, directory = saved
    assert_equal_weights(masked_lm, keras_hub.models.XLMRobertaMaskedLM.from_preset(str(directory)))
    backbone = keras_hub.models.XLMRobertaBackbone.from_preset(str(directory))
    assert_equal_weights(masked_lm.backbone, backbone)


def test_a_preset_that_names_the_policy_opens_too(saved):
    """As KerasHub writes it, and as this package did."""
    policy, masked_lm, directory = saved
    masked_lm.preprocessor = None
    for name in ("config.json", "task.json"):
        text = (directory / name).read_text()
        config = json.loads(text)
        backbone = config if name == "config.json" else config["config"]["backbone"]
        backbone["config"]["dtype"]["config"]["name"] = policy
        (directory / name).write_text(json.dumps(config))
    assert_equal_weights(masked_lm, load_pretrained(directory).masked_lm)
