"""What every exported head shares: strings or token ids in, named tensors out."""

import functools

import keras
import tensorflow as tf

from infoxlm_keras.errors import InputError

FORMAT_VERSION = 1  # of what `facts` gives


class ServingModule(tf.Module):
    """A Keras model behind the two signatures that every SavedModel here has.

    `serving_default` takes `text`, string [batch]; `tokens` takes `token_ids` and `padding_mask`, int32
    [batch, length], for servers without SentencePiece ops. Both return what `predict` returns.

    Args:
        text_to_ids: `TextToIds`.
        model: keras.Model from `{"token_ids", "padding_mask", ...}`. Its weights, and no others, are
            exported.
        name: str.

    Attributes:
        text_to_ids: `TextToIds`.
        weights: dict, Keras path of each weight -> its `tf.Variable`.

    Raises:
        InputError: if Keras runs on another backend than TensorFlow.
    """

    head = None  # name of the head in `infoxlm.json`

    def __init__(self, text_to_ids, model, name=None):
        if keras.backend.backend() != "tensorflow":
            raise InputError(
                f"KERAS_BACKEND = {keras.backend.backend()}: a SavedModel is exported under TensorFlow; set "
                "KERAS_BACKEND=tensorflow and load the preset again (presets open under every backend)"
            )
        super().__init__(name=name)
        self.text_to_ids = text_to_ids
        # Bare variables and a function, not Keras objects: the SavedModel opens where there is no Keras.
        self.weights = {weight.path: weight.value for weight in model.weights}
        self._apply = functools.partial(model, training=False)

    def predict(self, token_ids, padding_mask):
        """Named output tensors, batch first, for int32 [batch, length] `token_ids` and `padding_mask`."""
        raise NotImplementedError

    def head_facts(self):
        """What a client may want to know of the head: a dict of plain values."""
        raise NotImplementedError

    def facts(self):
        """What a client may want to know, a dict of plain values: the content of `infoxlm.json`."""
        return {
            "format_version": FORMAT_VERSION,
            "head": self.head,
            **self.head_facts(),
            "max_length": self.text_to_ids.max_length,
            "tokenizer_fingerprint": self.text_to_ids.tokenizer.fingerprint,
        }

    def signatures(self):
        """Signature name -> `tf.function` with its input signature."""
        ids = tf.TensorSpec([None, None], tf.int32)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serving_default(text):
            return self.predict(*self.text_to_ids(text))

        @tf.function(input_signature=[ids, ids])
        def tokens(token_ids, padding_mask):
            limit = self.text_to_ids.max_length
            message = f"token_ids: longer than the limit of {limit} tokens"
            within_limit = tf.debugging.assert_less_equal(tf.shape(token_ids)[1], limit, message)
            # Otherwise the position table may fail first, with a message that says nothing to a client.
            with tf.control_dependencies([within_limit]):
                token_ids = tf.identity(token_ids)
            return self.predict(token_ids, padding_mask)

        return {"serving_default": serving_default, "tokens": tokens}


def resolve_max_length(max_length, backbone):
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
