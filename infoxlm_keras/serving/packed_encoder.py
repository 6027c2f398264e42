"""The first layers of an XLM-R backbone on packed tokens, in plain TensorFlow: the computation of a SavedModel.

It equals `hidden_state_model(backbone, layer)` at every token up to float32's rounding. One matrix product computes
query, key and value, and the query's weights include attention's factor 1 / sqrt(head size).
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.encoder import check_layer
from infoxlm_keras.serving.packed_sequences import GROUP_ENDS
from infoxlm_keras.serving.stored_weights import LayerNorm, StoredMatrix, StoredTable, array, dense

if TYPE_CHECKING:
    import keras
    import keras_hub

    from infoxlm_keras.serving.packed_sequences import AttentionGroup, PackedSequences

SMALL_BATCH = 12  # rows


class PackedEncoder(tf.Module):
    """Computes hidden state `layer` from token ids; holds the weights of Transformer layers 1..`layer` only.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone` of L layers.
        layer: int in 0..L.
        storage: one of `infoxlm_keras.serving.stored_weights.STORAGES`.

    Raises:
        InputError: if `layer` is out of range, or the storage cannot hold the weights.
    """

    def __init__(
        self,
        backbone: "keras_hub.models.XLMRobertaBackbone",
        layer: int,
        storage: str = "float32",
        name: str = "encoder",
    ) -> None:
        super().__init__(name=name)
        check_layer(layer, backbone.num_layers, lowest=0)
        table = backbone.token_embedding.embeddings
        self.vocabulary_size = table.shape[0]
        positions = backbone.embeddings.position_embedding.position_embeddings
        self.token_embedding = StoredTable(array(table), storage, name="token_embedding")
        self.position_embedding = StoredTable(array(positions), storage, name="position_embedding")
        self.norm = LayerNorm(backbone.embeddings_layer_norm, name="embeddings_layer_norm")
        self.layers = [
            PackedLayer(backbone.transformer_layers[index], storage, name=f"transformer_layer_{index}")
            for index in range(layer)
        ]

    def __call__(self, packed: "PackedSequences") -> Tensor:
        """`PackedSequences` -> float32 [tokens, dim], in packed order."""
        rows = self.token_embedding.rows(packed.token_ids) + self.position_embedding.rows(packed.positions)
        states = self.norm(rows)
        if not self.layers:
            return states
        heads = self.layers[0].heads

        def run(ends, attend):
            groups = packed.attention_groups(heads, ends)
            return functools.reduce(lambda states, layer: layer(states, groups, attend), self.layers, states)

        # In a small batch, padding costs less than the operations that avoid it.
        small = packed.batch < SMALL_BATCH
        return tf.cond(small, lambda: run((1,), small_attention), lambda: run(GROUP_ENDS, attention))


class PackedLayer(tf.Module):
    """One Transformer layer (post-norm, exact GELU) on packed tokens."""

    def __init__(self, layer: "keras.layers.Layer", storage: str, name: str | None = None) -> None:
        super().__init__(name=name)
        attention = layer._self_attention_layer
        dim, self.heads, self.head_dim = attention.query_dense.kernel.shape
        scales = (self.head_dim**-0.5, 1.0, 1.0)
        projections = (attention.query_dense, attention.key_dense, attention.value_dense)
        parts = list(zip(projections, scales, strict=True))
        kernels = [array(part.kernel).reshape(dim, dim) * scale for part, scale in parts]
        biases = [array(part.bias).reshape(dim) * scale for part, scale in parts]
        self.query_key_value = StoredMatrix(np.concatenate(kernels, 1), np.concatenate(biases), storage, name="qkv")
        output = attention.output_dense
        self.output = StoredMatrix(array(output.kernel).reshape(dim, dim), array(output.bias), storage, name="output")
        self.attention_norm = LayerNorm(layer._self_attention_layer_norm, name="attention_norm")
        self.intermediate = dense(layer._feedforward_intermediate_dense, storage, name="intermediate")
        self.outer = dense(layer._feedforward_output_dense, storage, name="outer")
        self.feedforward_norm = LayerNorm(layer._feedforward_layer_norm, name="feedforward_norm")

    def __call__(
        self,
        states: Tensor,
        groups: "list[AttentionGroup]",
        attend: Callable[..., Tensor],
    ) -> Tensor:
        """float32 [tokens, dim] -> the same shape; `groups` of all tokens, `attend` one of the functions below."""
        projected = self.query_key_value(states)  # [tokens, 3 * dim]
        mixed = [group.packed(attend(*group.query_key_value(projected), group.bias)) for group in groups]
        states = self.attention_norm(states + self.output(tf.concat(mixed, axis=0)))
        inner = tf.nn.gelu(self.intermediate(states), approximate=False)
        return self.feedforward_norm(states + self.outer(inner))


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """softmax(query key' + bias) value.

    Args:
        query, key, value: float32 [rows, heads, length, head_dim], query already scaled.
        bias: float32 [rows, 1, 1, length].

    Returns:
        float32 [rows, heads, length, head_dim].
    """
    return tf.matmul(tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias), value)


def small_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """`attention` for a few short rows, with operations of low overhead.

    oneDNN executes batched `tf.matmul` and softmax; for small inputs its set-up takes longer than the computation.
    """
    scores = tf.raw_ops.BatchMatMulV3(x=query, y=key, adj_y=True, Tout=tf.float32) + bias
    weights = tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True))
    mixed = tf.raw_ops.BatchMatMulV3(x=weights, y=value, Tout=tf.float32)
    return mixed / tf.reduce_sum(weights, axis=-1, keepdims=True)
