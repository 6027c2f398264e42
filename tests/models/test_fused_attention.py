"""On JAX the encoder's attention is cuDNN's kernel on a GPU, and the same numbers as the backbone's everywhere."""

import pytest

from jax_program import results_of

# The program is lowered for a GPU that is not there: what JAX asks of the GPU is answered here.
PROGRAM = """
import json
import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax._src.cudnn import fused_attention_stablehlo as fused

from infoxlm_keras.models.encoder import Encoder, build_masked_lm, hidden_states_model
from infoxlm_keras.models.sizes import EncoderSize

SIZE = EncoderSize(num_layers=3, hidden_dim=32, num_heads=2, intermediate_dim=48, max_sequence_length=40)
generator = np.random.default_rng(0)
found = {}


def inputs_of(length):
    lengths = generator.integers(1, length + 1, (4, 1))
    mask = (np.arange(length) < lengths).astype("int32")
    mask[0, ::2] = 0  # a mask need not be a beginning
    return {"token_ids": generator.integers(4, 60, (4, length)).astype("int32"), "padding_mask": mask}


def gradient_function(model, call, inputs):
    def loss(values):
        with keras.StatelessScope(state_mapping=list(zip(model.trainable_variables, values, strict=True))):
            states = call(inputs).astype("float32")
        return (states * jnp.cos(jnp.arange(states.size).reshape(states.shape))).sum(), states

    return jax.value_and_grad(loss, has_aux=True)


model = build_masked_lm(SIZE, 64, dropout=0.0, dtype="float32")
values = [variable.value for variable in model.trainable_variables]
for length in (13, 16):
    inputs = inputs_of(length)
    (_, ours), gradients = gradient_function(model, Encoder(model).hidden_state, inputs)(values)
    (_, expected), others = gradient_function(model, model.backbone, inputs)(values)
    found[f"value {length}"] = float(jnp.abs(ours - expected).max())
    found[f"gradient {length}"] = max(
        float(jnp.abs(a - b).max() / (1 + jnp.abs(b).max())) for a, b in zip(gradients, others, strict=True)
    )
    assert ours.shape == expected.shape == (4, length, 32)
    for state, other in zip(hidden_states_model(model.backbone)(inputs), [None, None, None, expected], strict=True):
        assert other is None or np.array_equal(state, ours)

fused.check_compute_capability = lambda *arguments, **options: True
fused.check_cudnn_version = lambda *arguments, **options: 91000
fused.is_cuda_compute_capability_equal = lambda *arguments, **options: False
for dropout in (0.0, 0.1):
    half = build_masked_lm(SIZE, 64, dropout=dropout, dtype="mixed_bfloat16")
    values = [variable.value for variable in half.trainable_variables]
    for name, call in (("ours", Encoder(half).hidden_state), ("backbone", half.backbone)):
        if dropout and name == "backbone":
            continue
        step = jax.jit(gradient_function(half, call, inputs_of(13)))
        text = step.trace(values).lower(lowering_platforms=("cuda",)).as_text()
        found[f"{name} {dropout}"] = text.count("__cudnn$fmha")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found():
    return results_of(PROGRAM)


@pytest.mark.parametrize("length", [13, 16])
def test_values_and_gradients_are_the_backbones(found, length):
    assert found[f"value {length}"] < 1e-5 and found[f"gradient {length}"] < 1e-5


def test_every_layer_is_a_fused_kernel_forward_and_backward(found):
    assert found["ours 0.0"] == 2 * 3
    # The kernel takes neither KerasHub's mask nor an odd length; it drops no scores.
    assert found["backbone 0.0"] == found["ours 0.1"] == 0
