"""The classification head: a fine-tuned KerasHub classifier that takes strings."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from infoxlm_keras.annotations import PathLike, Tensor
from infoxlm_keras.files.model_directory import model_directory
from infoxlm_keras.serving.serving_module import ServingModule, resolve_max_length
from infoxlm_keras.serving.stored_weights import dense
from infoxlm_keras.serving.text_to_ids import TextToIds
from infoxlm_keras.text.labels import LABELS_FILE, check_label_names, read_labels

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.serving.packed_sequences import PackedSequences
    from infoxlm_keras.tokenizer import Tokenizer


class ClassifierModule(ServingModule):
    """Text to `probabilities`, float32 [batch, classes].

    If the classes' names are known, there are two more outputs: `labels`, string [batch, classes], the names in the
    order of `probabilities`, equal in every row; and `label`, string [batch], the most likely name.

    A third signature, `pairs`, takes `text` and `text_pair`, string [batch] each, for a classifier of pairs (premise
    and hypothesis): `<s> text </s></s> text_pair </s>`.

    Args:
        classifier: `keras_hub.models.XLMRobertaTextClassifier` with logits or a softmax as output.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        max_length: int, longest sequence in tokens; None: as many as the model has positions.
        storage: one of `STORAGES`, how weights are stored.
        labels: list of str, the classes' names in the order of the outputs
            (`infoxlm_keras.finetuning.read_labels`); None if they are unknown.

    Raises:
        InputError: if `max_length` or `storage` is out of range, or `labels` are not one distinct name for each class.
    """

    head = "classifier"
    pair_signature = ("pairs", "text", "text_pair")

    def __init__(
        self,
        classifier: "keras_hub.models.XLMRobertaTextClassifier",
        tokenizer: "Tokenizer",
        max_length: int | None = None,
        storage: str = "float32",
        labels: list[str] | None = None,
    ) -> None:
        if labels is not None:
            check_label_names(labels, classifier.num_classes)
        backbone = classifier.backbone
        text_to_ids = TextToIds(tokenizer, resolve_max_length(max_length, backbone))
        super().__init__(text_to_ids, backbone, backbone.num_layers, classifier, storage, name="classifier")
        self.num_classes = classifier.num_classes
        self.labels = None if labels is None else tuple(labels)
        self.pooled_dense = dense(classifier.pooled_dense, storage, name="pooled_dense")
        self.output_dense = dense(classifier.output_dense, storage, name="output_dense")
        self._gives_logits = classifier.output_dense.activation is keras.activations.linear

    def outputs(self, packed: "PackedSequences", states: Tensor) -> dict[str, Tensor]:
        pooled = tf.tanh(self.pooled_dense(packed.first(states)))
        return self._named(tf.nn.softmax(self.output_dense(pooled)))

    def reference(self, token_ids: Tensor, padding_mask: Tensor) -> dict[str, Tensor]:
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
            # A row of names for each text, because servers split all outputs along the batch.
            "labels": tf.tile(names[None], tf.stack([rows, 1])),
        }

    def pair_outputs(
        self, first: Tensor, second: Tensor, predict: Callable[[Tensor, Tensor], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        return predict(*self.text_to_ids.pairs(first, second))

    def head_facts(self) -> dict[str, Any]:
        facts = {"num_classes": self.num_classes}
        return facts if self.labels is None else {**facts, "labels": list(self.labels)}


def load_classification(
    source: PathLike, **settings: Any
) -> "tuple[ClassifierModule, keras_hub.models.XLMRobertaTextClassifier]":
    """The head and the model of the preset `source`, see `infoxlm_keras.serving.heads.registry.load_head`."""
    from infoxlm_keras.pretrained import load_classifier

    classifier, tokenizer = load_classifier(source, dtype="float32")
    labels, directory = None, model_directory(source)
    if directory is not None and (directory / LABELS_FILE).exists():
        labels = read_labels(directory, classifier.num_classes)
    else:
        print(f"{source} holds no {LABELS_FILE}: the export gives probabilities without the classes' names")
    return ClassifierModule(classifier, tokenizer, labels=labels, **settings), classifier
