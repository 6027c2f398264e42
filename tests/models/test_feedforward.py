"""On an accelerator JAX keeps one activation of a feed-forward part, and computes what the plain layers do."""

import pytest

from jax_program import results_of

pytestmark = pytest.mark.slow

# The CPU computes what is traced as for a GPU.
PROGRAM = """
import contextlib
import io
import json

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.ad_checkpoint import print_saved_residuals

from infoxlm_keras.models.encoder import Encoder, build_masked_lm
from infoxlm_keras.models.rematerialization import rematerialize_layers
from infoxlm_keras.models.sizes import EncoderSize
from infoxlm_keras.models.tpu_attention import compiling_for

SIZE = EncoderSize(num_layers=2, hidden_dim=16, num_heads=2, intermediate_dim=24, max_sequence_length=40)
generator = np.random.default_rng(0)


def inputs_of(length):
    ids = generator.integers(4, 60, (3, length)).astype("int32")
    return {"token_ids": ids, "padding_mask": np.ones((3, length), "int32")}


def made(dropout=0.0, rematerialize=None, platform="gpu"):
    keras.utils.set_random_seed(0)
    model = build_masked_lm(SIZE, 64, dropout=dropout)
    if rematerialize:
        rematerialize_layers(model.backbone, keep_products=rematerialize == "activations")
    encoder = Encoder(model)
    with compiling_for(platform):
        encoder.hidden_state(inputs_of(8))
    return model, encoder


def loss_of(model, encoder, inputs):
    def loss(values, seeds):
        mapping = [*zip(model.trainable_variables, values), *zip(model.non_trainable_variables, seeds)]
        with keras.StatelessScope(state_mapping=mapping):
            states = encoder.hidden_state(inputs, training=True)
        return (states * jnp.cos(jnp.arange(states.size).reshape(states.shape))).sum()

    return loss


found = {"kept": {}}
batches = {length: inputs_of(length) for length in (8, 12)}
plain = made(platform="cpu")
for name, options in {
    "gpu": {}, "tpu": {"platform": "tpu"}, "layers": {"rematerialize": "layers"},
    "activations": {"rematerialize": "activations"}, "dropout": {"dropout": 0.2},
}.items():
    changed = made(**options)
    reference = made(platform="cpu", dropout=options.get("dropout", 0.0))
    errors = []
    # Other weights and lengths, again and again: nothing of an earlier trace may be left.
    for factor in (1.0, 1.5, 1.0):
        for length, inputs in batches.items():
            results = []
            for model, encoder in (changed, reference):
                values = [variable.value * factor for variable in model.trainable_variables]
                seeds = [variable.value for variable in model.non_trainable_variables]
                function = jax.jit(jax.value_and_grad(loss_of(model, encoder, inputs)))
                results.append(jax.tree.leaves(function(values, seeds)))
            errors += [float(jnp.abs(a - b).max() / (1 + jnp.abs(b).max())) for a, b in zip(*results)]
    found[name] = max(errors)
quantized = []
for platform in ("cpu", "gpu"):
    for first in (True, False):
        model, encoder = made(platform=platform)
        if first:  # the layers are changed after it
            keras.utils.set_random_seed(0)
            model = build_masked_lm(SIZE, 64, dropout=0.0)
            model.backbone.quantize("int8")
            encoder = Encoder(model)
            with compiling_for(platform):
                encoder.hidden_state(inputs_of(8))
        else:
            model.backbone.quantize("int8")
        quantized.append(np.asarray(encoder.hidden_state(batches[8])))
found["quantized"] = max(float(np.abs(states - quantized[0]).max()) for states in quantized)
for name, (model, encoder) in {"plain": plain, "changed": made()}.items():
    text = io.StringIO()
    values = [variable.value for variable in model.trainable_variables]
    seeds = [variable.value for variable in model.non_trainable_variables]
    with contextlib.redirect_stdout(text):
        print_saved_residuals(loss_of(model, encoder, batches[8]), values, seeds)
    found["kept"][name] = text.getvalue().count("[3,8,24]")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    return results_of(PROGRAM)


@pytest.mark.parametrize("variant", ["gpu", "tpu", "layers", "activations", "dropout"])
def test_values_and_gradients_are_those_of_the_plain_layers_for_each_weight_and_length(found, variant):
    assert found[variant] < 1e-5


def test_quantized_layers_keep_their_activation_function(found):
    assert found["quantized"] < 1e-5


def test_of_each_layer_one_activation_is_kept(found):
    assert found["kept"]["changed"] == 2 < found["kept"]["plain"]
