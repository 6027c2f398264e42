"""The key encoder: a float32 moving average of the query encoder's first k layers."""

import keras
import keras_hub
from keras import ops

from infoxlm_keras.models.encoder import check_layer


class KeyEncoder(keras.layers.Layer):
    """An exponential moving average (EMA) of a backbone's embeddings and first `layer` Transformer layers.

    No layer above `layer` is run or stored. Weights, forward pass and average are float32 under every precision
    policy: at momentum 0.9999 half-precision increments round to nothing.

    Args:
        backbone: `XLMRobertaBackbone`, the query encoder.
        layer: int in 1..L, the universal layer.
    """

    def __init__(self, backbone, layer, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(trainable=False, **kwargs)
        check_layer(layer, backbone.num_layers)
        self.layer = layer
        config = {**backbone.get_config(), "num_layers": layer, "dropout": 0.0, "dtype": "float32"}
        self.backbone = keras_hub.models.XLMRobertaBackbone.from_config({**config, "name": "key_backbone"})
        self.backbone.trainable = False
        self.built = True

    def call(self, inputs):
        """Hidden state `layer`, float32 [batch, length, dim], of `{"token_ids", "padding_mask"}`; no dropout."""
        return ops.stop_gradient(self.backbone(inputs, training=False))

    def variable_pairs(self, backbone):
        """List of (key variable, query variable) in one fixed order; the query's from the backbone given."""
        query_layers = [
            backbone.embeddings,
            backbone.embeddings_layer_norm,
            *backbone.transformer_layers[: self.layer],
        ]
        key_layers = [
            self.backbone.embeddings,
            self.backbone.embeddings_layer_norm,
            *self.backbone.transformer_layers,
        ]
        query_weights = [weight for layer in query_layers for weight in layer.weights]
        key_weights = [weight for layer in key_layers for weight in layer.weights]
        return list(zip(key_weights, query_weights, strict=True))


def copy_variables(pairs):
    """Sets each first variable of `pairs` to the value of the second, without sharing its buffer."""
    for target, source in pairs:
        # Through NumPy: on JAX a shared buffer would be donated twice by the training step.
        target.assign(ops.convert_to_numpy(source))


def update_moving_average(pairs, momentum):
    """`key <- m key + (1 - m) query` for each (key, query) of `pairs`, in float32.

    Args:
        pairs: list of (key variable, query variable or tensor).
        momentum: float32 scalar m; 1 leaves the keys, 0 copies the queries.
    """
    for key, query in pairs:
        key_value = ops.cast(ops.convert_to_tensor(key), "float32")
        query_value = ops.stop_gradient(ops.cast(ops.convert_to_tensor(query), "float32"))
        # key + (1 - m) (query - key) keeps the small difference that m * key would round away.
        moved = key_value + (1.0 - momentum) * (query_value - key_value)
        # A copy is a copy to the last bit.
        key.assign(ops.where(ops.equal(momentum, 0.0), query_value, moved))
