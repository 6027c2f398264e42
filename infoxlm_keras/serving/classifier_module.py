"""The classification head: a fine-tuned KerasHub classifier behind strings."""

import pathlib

import keras
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.finetuning.classification import LABELS_FILE
from infoxlm_keras.serving.request_checks import checked_texts
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import dense
from infoxlm_keras.serving.text_to_ids import TextToIds


class ClassifierModule(ServingModule):
    """Text to `probabilities`, float32 [batch, classes].

    With the classes' names two more outputs: `labels`, string [batch, classes], the names in the order of
    `probabilities`, the same in every row; and `label`, string [batch], the likeliest.

    A third signature, `pairs`, takes `text` and `text_pair`, string [batch] each, for a classifier of pairs (premise
    and hypothesis): `<s> text </s></s> text_pair </s>`.

    Args:
        classifier: `keras_hub.models.XLMRobertaTextClassifier` with logits or a softmax as output.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.
        storage: one of `STORAGES`, how weights are stored.
        labels: list of str, the classes' names in the order of the outputs (`read_labels`); None if nobody knows them.

    Raises:
        InputError: if `max_length` or `storage` is out of range, or `labels` are no distinct names of all classes.
    """

    head = "classifier"

    def __init__(self, classifier, tokenizer, max_length=None, storage="float32", labels=None):
        if labels is not None:
            check_labels(labels, classifier.num_classes, "labels")
        backbone = classifier.backbone
        text_to_ids = TextToIds(tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, backbone, backbone.num_layers, classifier, storage, name="classifier")
        self.num_classes = classifier.num_classes
        self.labels = None if labels is None else tuple(labels)
        self.pooled_dense = dense(classifier.pooled_dense, storage, name="pooled_dense")
        self.output_dense = dense(classifier.output_dense, storage, name="output_dense")
        self._gives_logits = classifier.output_dense.activation is keras.activations.linear

    def outputs(self, packed, states):
        pooled = tf.tanh(self.pooled_dense(packed.first(states)))
        return self._named(tf.nn.softmax(self.output_dense(pooled)))

    def reference(self, token_ids, padding_mask):
        outputs = tf.cast(self._model({"token_ids": token_ids, "padding_mask": padding_mask}), tf.float32)
        return self._named(tf.nn.softmax(outputs) if self._gives_logits else outputs)

    def _named(self, probabilities):
        if self.labels is None:
            return {"probabilities": probabilities}
        names = tf.constant(self.labels, tf.string)
        rows = tf.shape(probabilities)[0]
        return {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            # A row of names for each text: servers join and cut all outputs along the batch.
            "labels": tf.tile(names[None], tf.stack([rows, 1])),
        }

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
        text, text_pair = checked_texts(text=text, text_pair=text_pair)
        return self.text_to_ids.pairs(text, text_pair)

    def head_facts(self):
        facts = {"num_classes": self.num_classes}
        return facts if self.labels is None else {**facts, "labels": list(self.labels)}


def read_labels(directory, num_classes):
    """The classes' names beside a preset, as `recipes/finetune_classification.py` writes them.

    Args:
        directory: str or path of a preset; a name that KerasHub knows has no such file.
        num_classes: int, outputs of its classifier.

    Returns:
        list of str, or None if the directory holds no `labels.json`.

    Raises:
        InputError: if the file is no list of distinct names, one a class.
    """
    path = pathlib.Path(directory) / LABELS_FILE
    if not path.exists():
        return None
    labels = read_json(path)
    check_labels(labels, num_classes, path)
    return labels


def check_labels(labels, num_classes, place):
    """Raises `InputError`, with `place` in front, unless `labels` is a list of `num_classes` distinct names."""
    remedy = f"give {num_classes} distinct names, in the order of the classifier's outputs"
    if not isinstance(labels, list | tuple):
        raise InputError(f"{place}: is no list of names; {remedy}")
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"{place}: {str(label)[:100]!r} is no name of a class; {remedy}")
        if not label.isprintable():
            raise InputError(f"{place}: {label[:100]!r} holds characters that cannot be printed; {remedy}")
    if len(set(labels)) != len(labels) or len(labels) != num_classes:
        raise InputError(
            f"{place}: holds {len(labels)} names ({len(set(labels))} distinct) for {num_classes} classes; {remedy}"
        )
