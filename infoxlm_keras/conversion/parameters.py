"""Hugging Face's name of each weight, and the Keras variable that holds it.

Names are those of `XLMRobertaModel`, without the prefix `roberta.` that they have inside `XLMRobertaForMaskedLM`; the
head's begin with `lm_head.`. PyTorch stores a dense layer as [outputs, inputs] and attention without an axis for the
heads; Keras stores [inputs, outputs] and splits the heads off.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from infoxlm_keras.annotations import Array

if TYPE_CHECKING:
    import keras_hub

WORD_EMBEDDINGS = "embeddings.word_embeddings.weight"
HEAD_PREFIX = "lm_head."
DECODER = "lm_head.decoder.weight"
# Hugging Face's module, the Keras layer below `transformer_layer_i`, and how many of the kernel's axes are inputs.
_DENSE_LAYERS = (
    ("attention.self.query", "self_attention_layer/query", 1),
    ("attention.self.key", "self_attention_layer/key", 1),
    ("attention.self.value", "self_attention_layer/value", 1),
    ("attention.output.dense", "self_attention_layer/attention_output", 2),
    ("intermediate.dense", "feedforward_intermediate_dense", 1),
    ("output.dense", "feedforward_output_dense", 1),
)
_NORMS = (
    ("attention.output.LayerNorm", "self_attention_layer_norm"),
    ("output.LayerNorm", "feedforward_layer_norm"),
)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A weight under both of its names.

    Attributes:
        name: str, Hugging Face's.
        variable: `keras.Variable`.
        input_axes: int, leading axes of a kernel that are inputs; 0 for a weight that is not a kernel.
        keep_shape: bool, store in the variable's shape (an embedding) instead of as a vector (a bias).
    """

    name: str
    variable: keras.Variable
    input_axes: int = 0
    keep_shape: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in Hugging Face's files, tuple of int."""
        shape = tuple(self.variable.shape)
        if self.keep_shape:
            return shape
        if not self.input_axes:
            return (math.prod(shape),)
        return math.prod(shape[self.input_axes :]), math.prod(shape[: self.input_axes])

    @property
    def size(self) -> int:
        """Number of values, int."""
        return math.prod(self.shape)

    def value(self) -> Array:
        """The weight as Hugging Face stores it, a NumPy array of `shape`."""
        array = ops.convert_to_numpy(self.variable)
        if self.input_axes:
            outputs, inputs = self.shape
            return array.reshape(inputs, outputs).T
        return array.reshape(self.shape)

    def assign(self, array: Array) -> None:
        """Gives the variable the value of `array`, which Hugging Face stores in `shape`."""
        value = array.T if self.input_axes else array
        self.variable.assign(value.astype("float32", copy=False).reshape(tuple(self.variable.shape)))


def expected_shapes(arguments: dict[str, Any], has_head: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the weights of `encoder_parameters` and `head_parameters`; no model is built.

    Args:
        arguments: dict, arguments of `XLMRobertaBackbone`.
        has_head: bool, the masked-LM head as well.

    Yields:
        (name, shape): str and tuple of int, layer by layer.
    """
    dim, inner = arguments["hidden_dim"], arguments["intermediate_dim"]
    sizes = {"intermediate.dense": (inner, dim), "output.dense": (dim, inner)}
    yield WORD_EMBEDDINGS, (arguments["vocabulary_size"], dim)
    yield "embeddings.LayerNorm.weight", (dim,)
    yield "embeddings.LayerNorm.bias", (dim,)
    for number in range(arguments["num_layers"]):
        prefix = f"encoder.layer.{number}."
        for name, _, _ in _DENSE_LAYERS:
            shape = sizes.get(name, (dim, dim))
            yield f"{prefix}{name}.weight", shape
            yield f"{prefix}{name}.bias", shape[:1]
        for name, _ in _NORMS:
            yield f"{prefix}{name}.weight", (dim,)
            yield f"{prefix}{name}.bias", (dim,)
    if has_head:
        yield "lm_head.bias", (arguments["vocabulary_size"],)
        yield "lm_head.dense.weight", (dim, dim)
        for name in ("lm_head.dense.bias", "lm_head.layer_norm.weight", "lm_head.layer_norm.bias"):
            yield name, (dim,)


def encoder_parameters(
    backbone: "keras_hub.models.XLMRobertaBackbone", num_layers: int | None = None
) -> list[Parameter]:
    """The weights of an `XLMRobertaBackbone` except its positions, for which see `infoxlm_keras.conversion.positions`.

    Args:
        backbone: `keras_hub.models.XLMRobertaBackbone`.
        num_layers: int, only the Transformer layers below it; None: all.

    Returns:
        list of `Parameter`.
    """
    num_layers = backbone.num_layers if num_layers is None else num_layers
    norm = backbone.embeddings_layer_norm
    parameters = [
        Parameter(WORD_EMBEDDINGS, backbone.token_embedding.embeddings, keep_shape=True),
        Parameter("embeddings.LayerNorm.weight", norm.gamma),
        Parameter("embeddings.LayerNorm.bias", norm.beta),
    ]
    for number in range(num_layers):
        layer = f"transformer_layer_{number}"
        variables = _variables_below(backbone.get_layer(layer), layer)
        prefix = f"encoder.layer.{number}."
        for name, path, input_axes in _DENSE_LAYERS:
            parameters.append(Parameter(f"{prefix}{name}.weight", variables[f"{path}/kernel"], input_axes))
            parameters.append(Parameter(f"{prefix}{name}.bias", variables[f"{path}/bias"]))
        for name, path in _NORMS:
            parameters.append(Parameter(f"{prefix}{name}.weight", variables[f"{path}/gamma"]))
            parameters.append(Parameter(f"{prefix}{name}.bias", variables[f"{path}/beta"]))
    return parameters


def head_parameters(masked_lm: "keras_hub.models.XLMRobertaMaskedLM") -> list[Parameter]:
    """The weights of the masked-LM head except its decoder, which is the token embedding.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.

    Returns:
        list of `Parameter`.
    """
    head = masked_lm.masked_lm_head
    variables = _variables_below(head, head.name)
    return [
        Parameter("lm_head.bias", variables["output_bias"]),
        Parameter("lm_head.dense.weight", variables["intermediate_dense/kernel"], input_axes=1),
        Parameter("lm_head.dense.bias", variables["intermediate_dense/bias"]),
        Parameter("lm_head.layer_norm.weight", variables["intermediate_layer_norm/gamma"]),
        Parameter("lm_head.layer_norm.bias", variables["intermediate_layer_norm/beta"]),
    ]


def _variables_below(layer, name):
    return {variable.path.rpartition(f"{name}/")[2]: variable for variable in layer.weights}
