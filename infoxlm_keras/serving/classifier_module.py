"""The classification head: a fine-tuned KerasHub classifier behind strings."""

import keras
import tensorflow as tf

from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import dense
from infoxlm_keras.serving.text_to_ids import TextToIds


class ClassifierModule(ServingModule):
    """Text to `probabilities`, float32 [batch, classes].

    A third signature, `pairs`, takes `text` and `text_pair`, string [batch] each, for a classifier of pairs (premise
    and hypothesis): `<s> text </s></s> text_pair </s>`.

    Args:
        classifier: `keras_hub.models.XLMRobertaTextClassifier` with logits or a softmax as output.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.
        storage: one of `STORAGES`, how weights are stored.

    Raises:
        InputError: if `max_length` or `storage` is out of range.
    """

    head = "classifier"

    def __init__(self, classifier, tokenizer, max_length=None, storage="float32"):
        backbone = classifier.backbone
        text_to_ids = TextToIds(tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, backbone, backbone.num_layers, classifier, storage, name="classifier")
        self.num_classes = classifier.num_classes
        self.pooled_dense = dense(classifier.pooled_dense, storage, name="pooled_dense")
        self.output_dense = dense(classifier.output_dense, storage, name="output_dense")
        self._gives_logits = classifier.output_dense.activation is keras.activations.linear

    def outputs(self, packed, states):
        pooled = tf.tanh(self.pooled_dense(packed.first(states)))
        return {"probabilities": tf.nn.softmax(self.output_dense(pooled))}

    def reference(self, token_ids, padding_mask):
        outputs = tf.cast(self._model({"token_ids": token_ids, "padding_mask": padding_mask}), tf.float32)
        return {"probabilities": tf.nn.softmax(outputs) if self._gives_logits else outputs}

    def signatures(self):
        texts = [tf.TensorSpec([None], tf.string, name=name) for name in ("text", "text_pair")]

        @tf.function(input_signature=texts)
        def pairs(text, text_pair):
            return self.predict(*self._pairs(text, text_pair))

        return {**super().signatures(), "pairs": pairs}

    def requests(self, texts, token_ids, padding_mask):
        return {
            **super().requests(texts, token_ids, padding_mask),
            "pairs": {"text": texts, "text_pair": texts[::-1]},
        }

    def answers(self, texts, token_ids, padding_mask, predict):
        pairs = predict(*self._pairs(tf.constant(texts), tf.constant(texts[::-1])))
        return {**super().answers(texts, token_ids, padding_mask, predict), "pairs": pairs}

    def _pairs(self, text, text_pair):
        message = "text and text_pair: differ in number"
        equal = tf.debugging.assert_equal(tf.shape(text)[0], tf.shape(text_pair)[0], message)
        with tf.control_dependencies([equal]):
            text = tf.identity(text)
        return self.text_to_ids.pairs(text, text_pair)

    def head_facts(self):
        return {"num_classes": self.num_classes}
