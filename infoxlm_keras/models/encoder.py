"""The encoder and its hidden states, all of them sub-models of one KerasHub backbone.

Everywhere in this package, the embeddings are hidden state 0, and state `l` is the output of
Transformer layer `l` (1..L). XLCO's universal layer 8 of 12 is state 8.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.models.fused_attention import hidden_states
from infoxlm_keras.models.sizes import EncoderSize


def build_masked_lm(
    size: EncoderSize,
    vocabulary_size: int,
    dropout: float = 0.1,
    dtype: str | keras.DTypePolicy | None = None,
    name: str = "backbone",
) -> keras_hub.models.XLMRobertaMaskedLM:
    """An XLM-R encoder with its masked-LM head, from random weights.

    Args:
        size: `EncoderSize`.
        vocabulary_size: int. Rows of the token embedding.
        dropout: float in [0, 1). 0.1 from scratch, 0.0 when continuing from XLM-R (reference behaviour).
        dtype: Keras dtype policy or its name; None takes the global policy.
        name: str. Name of the backbone.

    Returns:
        `keras_hub.models.XLMRobertaMaskedLM` whose `.backbone` is the encoder; the head is tied to the
        token embedding (dense + exact GELU + layer norm, then the embedding's transpose plus a bias).
    """
    backbone = keras_hub.models.XLMRobertaBackbone(
        vocabulary_size=vocabulary_size,
        num_layers=size.num_layers,
        num_heads=size.num_heads,
        hidden_dim=size.hidden_dim,
        intermediate_dim=size.intermediate_dim,
        dropout=dropout,
        max_sequence_length=size.max_sequence_length,
        dtype=dtype,
        name=name,
    )
    return keras_hub.models.XLMRobertaMaskedLM(backbone=backbone, preprocessor=None)


def with_dropout(
    masked_lm: keras_hub.models.XLMRobertaMaskedLM, dropout: float
) -> keras_hub.models.XLMRobertaMaskedLM:
    """`masked_lm` with another dropout probability: itself if it has that already, else a copy with equal weights."""
    backbone = masked_lm.backbone
    if backbone.dropout == dropout:
        return masked_lm
    copy = keras_hub.models.XLMRobertaBackbone.from_config({**backbone.get_config(), "dropout": dropout})
    masked_lm_copy = keras_hub.models.XLMRobertaMaskedLM(backbone=copy, preprocessor=masked_lm.preprocessor)
    masked_lm_copy.set_weights(masked_lm.get_weights())
    return masked_lm_copy


class Encoder:
    """A masked-LM model seen as the encoder that all pretext tasks share.

    A plain object, so that a task may hold it without Keras tracking the encoder's weights a second time.

    Args:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.

    Attributes:
        masked_lm, backbone: the model and its `XLMRobertaBackbone`.
    """

    def __init__(self, masked_lm: keras_hub.models.XLMRobertaMaskedLM) -> None:
        self.masked_lm = masked_lm
        self.backbone = masked_lm.backbone
        self._models: dict[int, keras.Model] = {}
        # Models that several tasks share, by name; the task that made one tracks its weights.
        self.shared_models: dict[str, Any] = {}
        # Hidden states that the pass for the last one gives, too.
        self._beside_last: set[int] = set()
        self._passes: dict[tuple[int, int, int, bool], tuple[Any, dict[int, Tensor]]] | None = None

    def hidden_state(self, inputs: dict[str, Tensor], layer: int | None = None, training: bool = False) -> Tensor:
        """Hidden state `layer` (None: the last) of `{"token_ids", "padding_mask"}`; nothing above it is run."""
        layer = self.backbone.num_layers if layer is None else layer
        return self._states(inputs, layer, training)[layer]

    def hidden_states(self, inputs: dict[str, Tensor], layers: Iterable[int], training: bool = False) -> list[Tensor]:
        """Hidden states `layers`, of which `take_beside_last` was told, from the pass that gives the last one."""
        found = self._states(inputs, self.backbone.num_layers, training)
        return [found[layer] for layer in layers]

    def take_beside_last(self, layers: Iterable[int]) -> None:
        """Says, before training, that a task takes hidden states `layers` from the pass for the last one."""
        for layer in layers:
            check_layer(layer, self.backbone.num_layers, lowest=0)
            self._beside_last.add(layer)
        self._models.pop(self.backbone.num_layers, None)

    def _states(self, inputs, layer, training):
        """dict of number to hidden state: `layer`, and with the last one those beside it."""
        numbers = {layer, *(self._beside_last if layer == self.backbone.num_layers else ())}
        if layer not in self._models:
            self._models[layer] = hidden_states_model(self.backbone, sorted(numbers), name=f"hidden_state_{layer}")
        # The inputs are kept beside the states, so that no other object can take their identity.
        key = (layer, id(inputs["token_ids"]), id(inputs["padding_mask"]), training)
        if self._passes is not None and key in self._passes:
            return self._passes[key][1]
        # Of one state, Keras gives no list.
        states = keras.tree.flatten(self._models[layer](inputs, training=training))
        found = dict(zip(sorted(numbers), states, strict=True))
        if self._passes is not None:
            self._passes[key] = (dict(inputs), found)
        return found

    @contextlib.contextmanager
    def one_pass_for_equal_inputs(self) -> Iterator[None]:
        """Context in which `hidden_state` of the same tensors is computed once, dropout included.

        The states are kept until it ends.
        """
        self._passes = {}
        try:
            yield
        finally:
            self._passes = None


def check_layer(layer: int, num_layers: int, lowest: int = 1) -> None:
    """Raises InputError unless `lowest <= layer <= num_layers`."""
    if not lowest <= layer <= num_layers:
        taken = f", of which {lowest}..{num_layers} are taken here" if lowest else ""
        raise InputError(f"layer {layer}: the encoder has hidden states 0..{num_layers}{taken}")


def hidden_state_model(
    backbone: keras_hub.models.XLMRobertaBackbone, layer: int, name: str | None = None
) -> keras.Model:
    """The first `layer` Transformer layers as a model that shares the backbone's weights.

    Args:
        backbone: `XLMRobertaBackbone` of L layers.
        layer: int in 0..L. Nothing above it is run.
        name: optional str.

    Returns:
        keras.Model from `{"token_ids", "padding_mask"}` (int32 [batch, length]) to hidden state `layer`
        [batch, length, hidden_dim].
    """
    check_layer(layer, backbone.num_layers, lowest=0)
    return keras.Model(backbone.input, _hidden_states(backbone)[layer], name=name or f"hidden_state_{layer}")


def hidden_states_model(
    backbone: keras_hub.models.XLMRobertaBackbone, layers: Iterable[int] | None = None, name: str = "hidden_states"
) -> keras.Model:
    """A model from the backbone's inputs to a list of hidden states.

    Args:
        backbone: `XLMRobertaBackbone` of L layers.
        layers: indices in 0..L; None takes all L + 1.
        name: str.

    Returns:
        keras.Model to a list of tensors [batch, length, hidden_dim], one for each of `layers`, in that order.
    """
    layers = range(backbone.num_layers + 1) if layers is None else layers
    for layer in layers:
        check_layer(layer, backbone.num_layers, lowest=0)
    states = _hidden_states(backbone)
    return keras.Model(backbone.input, [states[layer] for layer in layers], name=name)


def hidden_states_of_layers(
    backbone: keras_hub.models.XLMRobertaBackbone, layers: Iterable[keras.layers.Layer]
) -> list[Tensor]:
    """Symbolic hidden states of `backbone.input`: its embeddings, then each of `layers` on the state before it.

    Args:
        backbone: `XLMRobertaBackbone`, whose own Transformer layers are not used.
        layers: Transformer layers of another backbone, of the same width.
    """
    if keras.backend.backend() == "jax":
        return hidden_states(backbone, layers)
    states = [backbone.embeddings_dropout.output]
    for layer in layers:
        states.append(layer(states[-1], padding_mask=backbone.input["padding_mask"]))
    return states


def _hidden_states(backbone):
    """Symbolic hidden states 0..L."""
    if keras.backend.backend() == "jax":
        return hidden_states(backbone, backbone.transformer_layers)
    return [backbone.embeddings_dropout.output, *(layer.output for layer in backbone.transformer_layers)]
