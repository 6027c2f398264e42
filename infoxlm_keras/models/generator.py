"""The generator of replaced-token detection: a masked LM of a few layers as wide as the encoder, beside it."""

from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import Tensor
from infoxlm_keras.models.encoder import Encoder, hidden_states_of_layers


class Generator:
    """Transformer layers and a masked-LM head, on the encoder's embeddings or on embeddings of their own.

    A plain object, as `Encoder` is: several tasks may hold it, and one of them tracks `parts`.

    Args:
        encoder: `Encoder`; the generator has its width, heads, dropout and precision.
        num_layers: int > 0.
        shared_embeddings: bool, whether token and position embeddings, with their layer norm, are the encoder's own,
            as in ELECTRA's code. Both losses then train them.

    Attributes:
        masked_lm_head: its head, tied to its token embedding.
        token_embedding: its token embedding.
        parts: list of layers that have weights, those of the encoder excepted.
    """

    def __init__(self, encoder: Encoder, num_layers: int, shared_embeddings: bool) -> None:
        backbone = encoder.backbone
        self.num_layers, self.shared_embeddings = num_layers, shared_embeddings
        config = {**backbone.get_config(), "num_layers": num_layers, "name": "generator"}
        if shared_embeddings:
            # Of this one, only the Transformer layers are used.
            config.update(vocabulary_size=1, max_sequence_length=1)
        own = keras_hub.models.XLMRobertaBackbone.from_config(config)
        embedded = backbone if shared_embeddings else own
        self.token_embedding = embedded.token_embedding
        self.masked_lm_head = keras_hub.layers.MaskedLMHead(
            vocabulary_size=backbone.vocabulary_size,
            token_embedding=self.token_embedding,
            intermediate_activation="gelu",
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype=backbone.dtype_policy,
            name="generator_head",
        )
        self.masked_lm_head.build((None, None, backbone.hidden_dim), (None, None))
        states = hidden_states_of_layers(embedded, own.transformer_layers)
        self._model = keras.Model(embedded.input, states[-1], name="generator_states")
        embeddings = [] if shared_embeddings else [own.embeddings, own.embeddings_layer_norm, own.embeddings_dropout]
        self.parts: list[Any] = [*embeddings, *own.transformer_layers, self.masked_lm_head]

    def hidden_state(self, inputs: dict[str, Tensor], training: bool = False) -> Tensor:
        """Its last hidden state [batch, length, dim] of `{"token_ids", "padding_mask"}`."""
        return self._model(inputs, training=training)
