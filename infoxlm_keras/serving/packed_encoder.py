"""The first layers of an XLM-R backbone on packed tokens, in bare TensorFlow: what a SavedModel runs.

Equal to `hidden_state_model(backbone, layer)` at every real token, to float32's rounding. Query, key and value share
one product, and the query's weights hold attention's 1 / sqrt(head size).
"""

import numpy as np
import tensorflow as tf

from infoxlm_keras.models.encoder import check_layer
from infoxlm_keras.serving.stored_weights import LayerNorm, StoredMatrix, StoredTable, array, dense


class PackedEncoder(tf.Module):
    """Token ids to hidden state `layer`; holds the weights of Transformer layers 1..`layer` and no others.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone` of L layers.
        layer: int in 0..L.
        storage: one of `infoxlm_keras.serving.stored_weights.STORAGES`.

    Raises:
        InputError: if `layer` is out of range, or the storage cannot hold the weights.
    """

    def __init__(self, backbone, layer, storage="float32", name="encoder"):
        super().__init__(name=name)
        check_layer(layer, backbone.num_layers, lowest=0)
        table = backbone.token_embedding.embeddings
        positions = backbone.embeddings.position_embedding.position_embeddings
        self.token_embedding = StoredTable(array(table), storage, name="token_embedding")
        self.position_embedding = StoredTable(array(positions), storage, name="position_embedding")
        self.norm = LayerNorm(backbone.embeddings_layer_norm, name="embeddings_layer_norm")
        self.layers = [
            PackedLayer(backbone.transformer_layers[index], storage, name=f"transformer_layer_{index}")
            for index in range(layer)
        ]

    def __call__(self, packed):
        """`PackedSequences` -> float32 [tokens, dim], in packed order."""
        rows = self.token_embedding.rows(packed.token_ids) + self.position_embedding.rows(packed.positions)
        states = self.norm(rows)
        for layer in self.layers:
            states = layer(states, packed.groups)
        return states


class PackedLayer(tf.Module):
    """One Transformer layer (post-norm, exact GELU) on packed tokens."""

    def __init__(self, layer, storage, name=None):
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

    def __call__(self, states, groups):
        """float32 [tokens, dim] -> the same shape; `groups` as in `PackedSequences`."""
        projected = self.query_key_value(states)  # [tokens, 3 * dim]
        mixed = tf.concat([self._attend(projected, *group) for group in groups], axis=0)
        states = self.attention_norm(states + self.output(mixed))
        inner = tf.nn.gelu(self.intermediate(states), approximate=False)
        return self.feedforward_norm(states + self.outer(inner))

    def _attend(self, projected, index, bias, places):
        """Attention within one group: [tokens, 3 * dim] -> [tokens of the group, dim]."""
        rows, longest = tf.unstack(tf.shape(index))
        padded = tf.reshape(tf.gather(projected, index), [rows, longest, 3, self.heads, self.head_dim])
        query, key, value = tf.unstack(tf.transpose(padded, [2, 0, 3, 1, 4]))  # [rows, heads, longest, head_dim]
        weights = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) + bias)
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])  # [rows, longest, heads, head_dim]
        return tf.gather_nd(tf.reshape(mixed, [rows, longest, self.heads * self.head_dim]), places)
