"""The encoder up to the universal layer, and what the contrast on it may touch."""

import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras import XLCO, InputError
from infoxlm_keras.models import default_universal_layer, hidden_state_model, hidden_states_model
from tiny_pretraining import (
    TINY_SIZE,
    array,
    gradients,
    masked_lm_batch,
    pair_batch,
    tiny_masked_lm,
    tiny_pretrainer,
    total_loss,
)


@pytest.mark.parametrize("layer", range(TINY_SIZE.num_layers + 1))
def test_truncated_encoder_is_the_full_encoders_state(layer):
    backbone = tiny_masked_lm().backbone
    batch = masked_lm_batch(np.random.default_rng(0), 4, 12)
    inputs = {name: batch[name] for name in ("token_ids", "padding_mask")}
    state = hidden_state_model(backbone, layer)(inputs)
    np.testing.assert_array_equal(state, hidden_states_model(backbone)(inputs)[layer])
    if layer == TINY_SIZE.num_layers:
        np.testing.assert_array_equal(state, backbone(inputs))


@pytest.mark.parametrize(("layers", "expected"), [(12, 8), (24, 12), (3, 2), (1, 1)])
def test_default_universal_layer(layers, expected):
    assert default_universal_layer(layers) == expected


@pytest.mark.parametrize("universal_layer", [1, 2])
def test_contrast_touches_nothing_above_its_layer(universal_layer):
    task = XLCO(queue_length=8, universal_layer=universal_layer)
    pretrainer = tiny_pretrainer([task])
    generator = np.random.default_rng(1)
    pretrainer.fill_tasks({"xlco": pair_batch(generator, 5, 8)})
    batch = {"xlco": pair_batch(generator, 4, 8)}
    _, found = gradients(pretrainer, lambda model: total_loss(model, batch))
    above = [f"transformer_layer_{layer}/" for layer in range(universal_layer, TINY_SIZE.num_layers)] + ["mlm_head/"]
    touched = 0
    for variable, gradient in zip(pretrainer.trainable_variables, found, strict=True):
        if variable.path.startswith(tuple(above)):
            assert gradient is None, variable.path
        else:
            touched += 1
            # The attention's key bias shifts all scores alike: its true gradient is zero.
            assert np.abs(array(gradient)).max() > 1e-5 or variable.path.endswith("key/bias"), variable.path
    assert touched == 4 + 16 * universal_layer + 1
    assert task.key_encoder.backbone.num_layers == universal_layer
    assert {variable.path.split("/")[0] for variable in task.key_encoder.weights} == {
        "embeddings",
        "embeddings_layer_norm",
        *(f"transformer_layer_{layer}" for layer in range(universal_layer)),
    }


def test_keys_and_queue_have_no_gradient():
    task = XLCO(queue_length=8, in_batch_negatives=True)
    pretrainer = tiny_pretrainer([task])
    batch = pair_batch(np.random.default_rng(1), 4, 8)
    pretrainer.fill_tasks({"xlco": batch})
    keys_side = [*task.key_encoder.weights, task.key_projection, task.queue.keys]
    assert not {id(variable) for variable in keys_side} & {id(variable) for variable in pretrainer.trainable_variables}
    watched = [variable.value for variable in keys_side]
    with tf.GradientTape() as tape:
        tape.watch(watched)
        loss = task.result(batch, training=True).loss_sum
    assert float(loss) > 0
    assert tape.gradient(loss, watched) == [None] * len(watched)


@pytest.mark.parametrize("layer", [-1, 4])
def test_bad_hidden_state(layer):
    backbone = tiny_masked_lm().backbone
    with pytest.raises(InputError, match=rf"layer {layer}: .*0\.\.3"):
        hidden_state_model(backbone, layer)
    with pytest.raises(InputError, match=rf"layer {layer}: .*0\.\.3"):
        hidden_states_model(backbone, [0, layer])
