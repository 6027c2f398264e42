"""The sentence encoder as an ONNX graph of standard operators: the first layers of XLM-R, pooled.

Padding is removed before the first layer, as in the SavedModel: products, norms and feed-forward layers work on the
tokens of the batch in one row [tokens, width]. Attention gathers them into [batch, length] and back. Query, key and
value are one product, and the query's weights include attention's factor 1 / sqrt(head size).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array
from infoxlm_keras.conversion.parameters import WORD_EMBEDDINGS, encoder_parameters
from infoxlm_keras.exporting.onnx_nodes import OnnxNodes
from infoxlm_keras.models.pooling import BELOW_ALL

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.models.sentence_vector import SentenceVector

INPUT_IDS, ATTENTION_MASK = "input_ids", "attention_mask"
SENTENCE_EMBEDDING, LAST_HIDDEN_STATE = "sentence_embedding", "last_hidden_state"
MASKED_SCORE = -1e9
SMALLEST_SQUARE = 1e-12  # as `l2_normalize`
INT8_LARGEST = 127


def onnx_encoder(
    backbone: "keras_hub.models.XLMRobertaBackbone", vector: "SentenceVector", dim: int, int8_table: bool = False
) -> Any:
    """The sentence vectors of a backbone as an ONNX model.

    Inputs: `input_ids` and `attention_mask`, int64 [batch, length], 1 in the mask for a token and 0 for padding, which
    may be anywhere; a row without a token has a vector of zeros. Outputs: `sentence_embedding` float32 [batch, dim],
    and `last_hidden_state` float32 [batch, length, width], hidden state `vector.layer` with zeros at padding.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone`.
        vector: `SentenceVector`; layers above its own are left out.
        dim: int, the first dimensions of the pooled state that are returned.
        int8_table: bool, store the token table as int8 with a scale for each row.

    Returns:
        `onnx.ModelProto`.

    Raises:
        InputError: if onnx is not installed.
    """
    return _Encoder(backbone, vector.layer).model(vector, dim, int8_table)


class _Encoder:
    """Writes the graph; the names of weights are those of transformers."""

    def __init__(self, backbone, layers):
        self.nodes = OnnxNodes()
        self.layers = layers
        self.width, self.heads = backbone.hidden_dim, backbone.num_heads
        self.epsilon = backbone.embeddings_layer_norm.epsilon
        self.positions = ops.convert_to_numpy(backbone.embeddings.position_embedding.position_embeddings)
        self.parameters = {parameter.name: parameter for parameter in encoder_parameters(backbone, layers)}

    def model(self, vector, dim, int8_table):
        op, constant = self.nodes.op, self.nodes.constant
        present = op("Greater", ATTENTION_MASK, constant(0))  # bool [batch, length]
        shape = op("Shape", ATTENTION_MASK)
        length = op("Shape", ATTENTION_MASK, start=1, end=2)
        columns = op("Range", constant(0), op("Squeeze", length), constant(1))
        # The first place of a row counts as a token here, so that a batch of padding alone is no special case.
        packed = op("Or", present, op("Equal", columns, constant(0)))
        flat = op("Reshape", packed, constant([-1]))
        self.places = op("Reshape", op("NonZero", flat), constant([-1]))  # of each token in the padded batch
        ones = op("Cast", flat, to=_type("INT64"))
        before = op("CumSum", ones, constant(0), exclusive=1)
        # The token at each place of the padded batch; at padding the first one, which attention ignores.
        self.index = op("Reshape", op("Mul", before, ones), shape)
        scores = op("Where", present, constant(0.0), constant(MASKED_SCORE))
        self.bias = op("Unsqueeze", scores, constant([1, 2]))  # [batch, 1, 1, length]
        states = self.embeddings(int8_table)
        for number in range(self.layers):
            states = self.transformer_layer(states, f"encoder.layer.{number}.")
        weights = op("Unsqueeze", op("Cast", present, to=_type("FLOAT")), constant([2]))
        state = op("Mul", op("Gather", states, self.index), weights, name=LAST_HIDDEN_STATE)
        self.pooled(state, present, weights, vector, dim)
        return self.nodes.model(
            {name: ("INT64", ["batch", "length"]) for name in (INPUT_IDS, ATTENTION_MASK)},
            {
                SENTENCE_EMBEDDING: ("FLOAT", ["batch", dim]),
                LAST_HIDDEN_STATE: ("FLOAT", ["batch", "length", self.width]),
            },
        )

    def embeddings(self, int8_table):
        op, constant = self.nodes.op, self.nodes.constant
        ids = op("Gather", op("Reshape", INPUT_IDS, constant([-1])), self.places)
        table = self.value(WORD_EMBEDDINGS)
        if int8_table:
            table, scale = int8_rows(table)
            rows = op("Cast", op("Gather", constant(table, WORD_EMBEDDINGS), ids), to=_type("FLOAT"))
            tokens = op("Mul", rows, op("Gather", constant(scale, f"{WORD_EMBEDDINGS}.scale"), ids))
        else:
            tokens = op("Gather", constant(table, WORD_EMBEDDINGS), ids)
        columns = op("Mod", self.places, op("Shape", ATTENTION_MASK, start=1, end=2))
        positions = op("Gather", constant(self.positions, "embeddings.position_embeddings.weight"), columns)
        return self.norm(op("Add", tokens, positions), "embeddings.LayerNorm")

    def transformer_layer(self, states, prefix):
        op = self.nodes.op
        mixed = self.dense(self.attention(states, prefix), f"{prefix}attention.output.dense")
        states = self.norm(op("Add", states, mixed), f"{prefix}attention.output.LayerNorm")
        inner = op("Gelu", self.dense(states, f"{prefix}intermediate.dense"))
        outer = self.dense(inner, f"{prefix}output.dense")
        return self.norm(op("Add", states, outer), f"{prefix}output.LayerNorm")

    def attention(self, states, prefix):
        """Each token's mixture of values, [tokens, width]."""
        op, constant = self.nodes.op, self.nodes.constant
        head_dim = self.width // self.heads
        names = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
        scales = [np.float32(head_dim**-0.5), np.float32(1), np.float32(1)]
        parts = list(zip(names, scales, strict=True))
        kernel = np.concatenate([self.value(f"{name}.weight").T * scale for name, scale in parts], axis=1)
        bias = np.concatenate([self.value(f"{name}.bias") * scale for name, scale in parts])
        projected = self.nodes.dense(states, kernel, bias, f"{prefix}attention.self.query_key_value")
        padded = op("Gather", projected, self.index)  # [batch, length, 3 * width]
        split = op("Reshape", padded, constant([0, 0, 3, self.heads, head_dim]))
        three = op("Split", op("Transpose", split, perm=[2, 0, 3, 1, 4]), outputs=3, num_outputs=3, axis=0)
        query, key, value = (op("Squeeze", part, constant([0])) for part in three)
        scores = op("MatMul", query, op("Transpose", key, perm=[0, 1, 3, 2]))
        mixed = op("MatMul", op("Softmax", op("Add", scores, self.bias), axis=-1), value)
        rows = op("Reshape", op("Transpose", mixed, perm=[0, 2, 1, 3]), constant([-1, self.width]))
        return op("Gather", rows, self.places)

    def pooled(self, state, present, weights, vector, dim):
        op, constant = self.nodes.op, self.nodes.constant
        if vector.pooling == "cls":
            pooled = op("Gather", state, constant(0), axis=1)
        elif vector.pooling == "max":
            masked = op("Where", op("Unsqueeze", present, constant([2])), state, constant(BELOW_ALL))
            largest = op("ReduceMax", masked, constant([1]), keepdims=0)
            pooled = op("Mul", largest, op("ReduceMax", weights, constant([1]), keepdims=0))
        else:
            total = op("ReduceSum", state, constant([1]), keepdims=0)
            count = op("ReduceSum", weights, constant([1]), keepdims=0)
            pooled = op("Div", total, op("Max", count, constant(1.0)))
        if dim < self.width:
            pooled = op("Slice", pooled, constant([0]), constant([dim]), constant([1]))
        if vector.normalize:
            square = op("ReduceSum", op("Mul", pooled, pooled), constant([1]), keepdims=1)
            length = op("Sqrt", op("Max", square, constant(SMALLEST_SQUARE)))
            op("Div", pooled, length, name=SENTENCE_EMBEDDING)
        else:
            op("Identity", pooled, name=SENTENCE_EMBEDDING)

    def dense(self, inputs, name):
        return self.nodes.dense(inputs, self.value(f"{name}.weight").T, self.value(f"{name}.bias"), name)

    def norm(self, inputs, name):
        gamma, beta = self.value(f"{name}.weight"), self.value(f"{name}.bias")
        return self.nodes.layer_norm(inputs, gamma, beta, self.epsilon, name)

    def value(self, name):
        return self.parameters[name].value().astype(np.float32, copy=False)


def int8_rows(table: Array) -> tuple[Array, Array]:
    """`table` float32 [rows, dim] as int8 of the same shape, and the scale of each row, float32 [rows, 1]."""
    largest = np.abs(table).max(axis=1, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(INT8_LARGEST)
    return np.rint(table / scale).astype(np.int8), scale


def _type(name):
    import onnx

    return getattr(onnx.TensorProto, name)
