"""The base class of all exported heads: strings or token ids in, named tensors out."""

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from infoxlm_keras.annotations import Array, Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained.digest import weights_digest
from infoxlm_keras.serving.packed_encoder import PackedEncoder
from infoxlm_keras.serving.packed_sequences import PackedSequences
from infoxlm_keras.serving.request_checks import checked_texts, checked_tokens

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.serving.text_to_ids import TextToIds

FORMAT_VERSION = 2  # of the result of `facts`


class ServingModule(tf.Module):
    """A Keras model with the two signatures that every SavedModel here has, and one on pairs of texts for some heads.

    `serving_default` takes `text`, string [batch]; `tokens` takes `token_ids` and `padding_mask`, int32
    [batch, length], for servers without SentencePiece ops. Both return `returned(predict(...))`. The signature on
    pairs takes two string [batch] and returns what `pair_outputs` returns. All refuse inputs of another rank, masks
    that are neither 0 nor 1, and ids outside of the vocabulary (`request_checks`).

    Args:
        text_to_ids: `TextToIds`.
        backbone: `XLMRobertaBackbone`, whose layers 1..`layer` and no others are exported.
        layer: int, the hidden state that the head needs.
        model: keras.Model of `{"token_ids", "padding_mask", ...}`, whose outputs the export must reproduce.
        storage: one of `STORAGES`, how weights are stored.
        name: str.

    Attributes:
        text_to_ids: `TextToIds`.
        encoder: `PackedEncoder`.
        storage: as given.

    Raises:
        InputError: if Keras runs on another backend than TensorFlow.
    """

    head: str  # name of the head in `infoxlm.json`; each head sets its own
    needs_strings = False  # whether the head answers with strings, so that it cannot do without their signatures
    # (name of the signature, names of its two inputs) for a head with a signature on pairs of texts.
    pair_signature: tuple[str, str, str] | None = None
    vectors = "float32"  # type of the output `embedding` of a head that has one, one of `VECTOR_TYPES`
    tokens_only = False  # whether signatures on strings are left out, for servers without SentencePiece ops

    def __init__(
        self,
        text_to_ids: "TextToIds",
        backbone: "keras_hub.models.XLMRobertaBackbone",
        layer: int,
        model: keras.Model,
        storage: str = "float32",
        name: str | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise InputError(
                f"KERAS_BACKEND = {keras.backend.backend()}: a SavedModel is exported under TensorFlow; set "
                "KERAS_BACKEND=tensorflow and load the preset again (presets open under every backend)"
            )
        super().__init__(name=name)
        self.text_to_ids = text_to_ids
        self.storage = storage
        self.encoder = PackedEncoder(backbone, layer, storage)
        # A function instead of a Keras object, so that the SavedModel does not contain the Keras model.
        self._model = functools.partial(model, training=False)

    def predict(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        """Named output tensors, batch first, for int32 [batch, length] `token_ids` and `padding_mask`."""
        packed = PackedSequences(token_ids, padding_mask)
        return self.outputs(packed, self.encoder(packed))

    def outputs(self, packed: PackedSequences, states: Tensor) -> dict[str, Tensor]:
        """The result of `predict` from `PackedSequences` and their hidden states [tokens, dim]."""
        raise NotImplementedError

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
        """The result of `predict` from the Keras model, which a float32 export must equal."""
        raise NotImplementedError

    def returned(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The outputs of `predict` as `serving_default` and `tokens` return them: unchanged in most heads."""
        return outputs

    def pair_outputs(
        self, first: Tensor, second: Tensor, predict: Callable[[Tensor, Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Named outputs of the signature on pairs.

        Args:
            first, second: string [batch], checked.
            predict: `self.predict` or `self.reference`.
        """
        raise NotImplementedError

    def head_facts(self) -> dict[str, Any]:
        """Facts about the head for clients: a dict of plain values."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Facts about the model for clients, a dict of plain values: the content of `infoxlm.json`."""
        model: Any = self._model.func
        return {
            "format_version": FORMAT_VERSION,
            "head": self.head,
            **self.head_facts(),
            "max_length": self.text_to_ids.max_length,
            "storage": self.storage,
            "tokenizer_fingerprint": self.text_to_ids.tokenizer.fingerprint,
            # Of the Keras model's weights, not of the stored ones, whose layout may differ between releases.
            "weights_digest": weights_digest(model.weights),
        }

    def signatures(self) -> dict[str, Callable[..., Any]]:
        """Signature name -> `tf.function` with its input signature."""
        found = {
            "serving_default": self._text_signature("serving_default"),
            "tokens": self._tokens_signature(self.predict),
        }
        if self.pair_signature is not None:
            found[self.pair_signature[0]] = self._pair_signature(*self.pair_signature)
        return found

    def exported(self, by_signature: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of a dict by signature name that are exported: all, or `tokens` alone."""
        return {name: value for name, value in by_signature.items() if name == "tokens" or not self.tokens_only}

    def requests(self, texts: list[bytes], token_ids: Array, padding_mask: Array) -> dict[str, dict[str, Any]]:
        """Inputs of every signature: signature -> input name -> value; the ids belong to the texts."""
        found: dict[str, dict[str, Any]] = {
            "serving_default": {"text": texts},
            "tokens": {"token_ids": token_ids, "padding_mask": padding_mask},
        }
        if self.pair_signature is not None:
            signature, first, second = self.pair_signature
            found[signature] = {first: texts, second: texts[::-1]}
        return found

    def answers(
        self,
        texts: list[bytes],
        token_ids: Array,
        padding_mask: Array,
        predict: Callable[[Tensor, Tensor], dict[str, Tensor]],
    ) -> dict[str, dict[str, Tensor]]:
        """Expected outputs of each signature for `requests(...)`; `predict` is `self.predict` or `self.reference`."""
        outputs = predict(tf.constant(token_ids), tf.constant(padding_mask))
        found = {"serving_default": outputs, "tokens": outputs}
        if self.pair_signature is not None:
            first, second = tf.constant(texts), tf.constant(texts[::-1])
            found[self.pair_signature[0]] = self.pair_outputs(first, second, predict)
        return found

    def _pair_signature(self, signature, first_name, second_name):
        def pair(first, second):
            first, second = checked_texts(**{first_name: first, second_name: second})
            return self.pair_outputs(first, second, self.predict)

        # The name of the function in the SavedModel.
        pair.__name__ = signature
        texts = [tf.TensorSpec([None], tf.string, name=name) for name in (first_name, second_name)]
        return tf.function(pair, input_signature=texts)

    def _text_signature(self, signature, prompt=""):
        """Of one text, with `prompt` (str) before it."""

        def of_text(text):
            [text] = checked_texts(text=text)
            return self.returned(self.predict(*self.text_to_ids(prompt + text if prompt else text)))

        # The name of the function in the SavedModel.
        of_text.__name__ = signature
        return tf.function(of_text, input_signature=[tf.TensorSpec([None], tf.string, name="text")])

    def _tokens_signature(self, predict):
        ids = tf.TensorSpec([None, None], tf.int32)

        @tf.function(input_signature=[ids, ids])
        def tokens(token_ids, padding_mask):
            return self.returned(
                predict(
                    *checked_tokens(token_ids, padding_mask, self.encoder.vocabulary_size, self.text_to_ids.max_length)
                )
            )

        return tokens


def resolve_max_length(max_length: int | None, backbone: "keras_hub.models.XLMRobertaBackbone") -> int:
    """`max_length`, or all positions of `backbone` for None.

    Raises:
        InputError: if the backbone has fewer positions.
    """
    if max_length is None:
        return backbone.max_sequence_length
    if max_length > backbone.max_sequence_length:
        raise InputError(
            f"max_length = {max_length}: the model has {backbone.max_sequence_length} positions; "
            "give at most that many"
        )
    return max_length
