"""The key encoder: the query encoder's first k layers, whose float32 weights `MovingAverage` moves."""

import functools
from typing import Any

import keras
import keras_hub
from keras import ops

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.encoder import check_layer, hidden_state_model


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class KeyEncoder(keras.layers.Layer):
    """An exponential moving average (EMA) of a backbone's embeddings and first `layer` Transformer layers.

    No layer above `layer` is run or stored. Weights and average are float32 under every precision policy: at momentum
    0.9999 half-precision increments round to nothing. The forward pass computes as the query encoder's does.

    Args:
        backbone: `XLMRobertaBackbone`, the query encoder.
        layer: int in 1..L, the universal layer.
    """

    def __init__(self, backbone: keras_hub.models.XLMRobertaBackbone, layer: int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**{"trainable": False, **kwargs})
        check_layer(layer, backbone.num_layers)
        self.layer = layer
        config = {**backbone.get_config(), "num_layers": layer, "dropout": 0.0, "dtype": self._policy_of(backbone)}
        self.backbone = keras_hub.models.XLMRobertaBackbone.from_config({**config, "name": "key_backbone"})
        self.backbone.trainable = False
        # Not the backbone itself: this form takes attention kernels where there are some. Keras would track a model.
        self._hidden_state = functools.partial(hidden_state_model(self.backbone, layer), training=False)
        self.built = True

    @staticmethod
    def _policy_of(backbone):
        """Name of the dtype policy with the backbone's compute dtype and float32 weights."""
        compute_dtype = backbone.dtype_policy.compute_dtype
        return "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"

    def get_config(self) -> dict[str, Any]:
        """The configuration; its backbone is the key encoder's own, which has all that the constructor reads."""
        backbone = keras.saving.serialize_keras_object(self.backbone)
        return {**super().get_config(), "backbone": backbone, "layer": self.layer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "KeyEncoder":
        return cls(**{**config, "backbone": keras.saving.deserialize_keras_object(config["backbone"])})

    def call(self, inputs: dict[str, Tensor]) -> Tensor:
        """Hidden state `layer`, in the compute dtype [batch, length, dim], of `{"token_ids", "padding_mask"}`.

        Without dropout.
        """
        return ops.stop_gradient(self._hidden_state(inputs))

    def variable_pairs(
        self, backbone: keras_hub.models.XLMRobertaBackbone
    ) -> list[tuple[keras.Variable, keras.Variable]]:
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
