"""The encoder with one vector of unit length a text as its output."""

from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.encoder import hidden_state_model
from infoxlm_keras.models.pooling import check_pooling, l2_normalize, pool


@keras.saving.register_keras_serializable(package="infoxlm_keras")
class UnitVector(keras.layers.Layer):
    """A hidden state [batch, length, dim], of any float dtype, pooled and scaled: float32 [batch, dim].

    Args:
        pooling: "cls", "mean" or "max", see `infoxlm_keras.models.pooling.pool`.

    Raises:
        InputError: for another pooling.

    Example:
    ```python
    UnitVector("mean")(np.ones((1, 3, 4), "float32"), padding_mask=np.array([[1, 1, 0]]))  # [[0.5, 0.5, 0.5, 0.5]]
    ```
    """

    def __init__(self, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32", "autocast": False})
        check_pooling(pooling)
        self.pooling = pooling

    def call(self, hidden_state: Tensor, padding_mask: Tensor) -> Tensor:
        return l2_normalize(pool(hidden_state, padding_mask, self.pooling))

    def compute_output_spec(self, hidden_state: Any, padding_mask: Any) -> keras.KerasTensor:
        return keras.KerasTensor((hidden_state.shape[0], hidden_state.shape[-1]), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling}


def sentence_vector_model(
    backbone: keras_hub.models.XLMRobertaBackbone, layer: int, pooling: str = "mean"
) -> keras.Model:
    """A model that shares the weights of `backbone` and gives a vector a text.

    Args:
        backbone: `XLMRobertaBackbone` of L layers.
        layer: int in 1..L. Nothing above it is run.
        pooling: "cls", "mean" or "max".

    Returns:
        keras.Model from `{"token_ids", "padding_mask"}` (int32 [batch, length]) to float32 [batch, hidden_dim], of
        unit length.
    """
    states = hidden_state_model(backbone, layer)
    vectors = UnitVector(pooling, name="sentence_vector")(states.output, padding_mask=backbone.input["padding_mask"])
    return keras.Model(backbone.input, vectors, name="sentence_encoder")
