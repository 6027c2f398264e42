"""Fine-tuned models with their heads, as transformers stores them: classifiers, question answering and taggers.

transformers and KerasHub have the same classification head: dense, tanh and dense, on the last hidden state at `<s>`.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import keras_hub

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.keras_hub_preset import task_class_name
from infoxlm_keras.conversion.parameters import Parameter
from infoxlm_keras.conversion.sources import KERAS, locate
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import read_json
from infoxlm_keras.tokenizer import Tokenizer

LABELS_FILE = "labels.json"
CLASSIFIER, QUESTION_ANSWERING, TAGGER = "TextClassifier", "QuestionAnswering", "TokenClassification"


@dataclasses.dataclass
class TaskModel:
    """A fine-tuned model in transformers' terms.

    Attributes:
        backbone: `keras_hub.models.XLMRobertaBackbone`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        architecture: str, transformers' class.
        task: str, the task's name on Hugging Face's hub.
        head: list of `Parameter`.
        description: str, the head in words.
        config: dict, the head's entries in config.json.
        max_length: int, tokens of the longest input.
    """

    backbone: keras_hub.models.XLMRobertaBackbone
    tokenizer: Tokenizer
    architecture: str
    task: str
    head: list[Parameter]
    description: str
    config: dict[str, Any]
    max_length: int
    # The attributes of a `PretrainedModel` that a fine-tuned model lacks.
    has_head = False
    info = None
    remainder = None


def task_kind(source: PathLike) -> str | None:
    """`CLASSIFIER`, `QUESTION_ANSWERING` or `TAGGER` if the preset `source` is of that kind, else None.

    Raises:
        InputError: as `locate`, or if the preset is damaged.
    """
    location = locate(source)
    if location.layout != KERAS or location.directory is None:
        return None
    name = task_class_name(location.directory) or ""
    return next((kind for kind in _LOADERS if name.endswith(kind)), None)


def load_task_model(source: PathLike) -> TaskModel:
    """The `TaskModel` of a preset for which `task_kind` returns a kind.

    Raises:
        InputError: if the preset is damaged, or transformers has no equal head.
    """
    kind = task_kind(source)
    assert kind is not None
    return _LOADERS[kind](source)


def read_labels(directory: PathLike, classes: int) -> list[str] | None:
    """The names of a classifier's outputs beside its preset, list of str; None if there is no such file.

    Raises:
        InputError: if they are not `classes` different names.
    """
    path = pathlib.Path(directory) / LABELS_FILE
    if not path.exists():
        return None
    labels = read_json(path)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{path}: is not a list of the classes' names")
    if len(labels) != classes or len(set(labels)) != classes:
        raise InputError(f"{path}: has {len(labels)} names, but the classifier {classes} classes; each needs its own")
    return labels


def _classifier(source):
    from infoxlm_keras.pretrained import load_classifier

    model, tokenizer = load_classifier(source, dtype="float32")
    backbone, classes = model.backbone, model.num_classes
    if model.hidden_dim != backbone.hidden_dim:
        raise InputError(
            f"{source}: its classifier has an inner layer of width {model.hidden_dim}; in transformers it must "
            f"have the encoder's width {backbone.hidden_dim}"
        )
    activation = keras.activations.serialize(model.activation)
    if activation == "softmax":
        print("note: the classifier gives probabilities; in transformers it gives logits, before their softmax")
    elif activation != "linear":
        raise InputError(
            f"{source}: its classifier ends with the activation {activation}, which transformers' does not have"
        )
    labels = read_labels(_directory(source), classes)
    if labels is None:
        labels = [f"LABEL_{number}" for number in range(classes)]
        print(f"note: {source}: has no {LABELS_FILE}; its classes are named {labels[0]} to {labels[-1]}")
    dense, output = model.pooled_dense, model.output_dense
    config = {
        **_names(labels),
        "problem_type": "single_label_classification",
        "classifier_dropout": model.dropout,
    }
    return TaskModel(
        backbone,
        tokenizer,
        "XLMRobertaForSequenceClassification",
        "text-classification",
        [*_dense("classifier.dense", dense), *_dense("classifier.out_proj", output)],
        f"classifier of {', '.join(labels)}",
        config,
        min(model.preprocessor.sequence_length, backbone.max_sequence_length),
    )


def _question_answering(source):
    from infoxlm_keras.finetuning.question_answering import load_question_answering

    directory = _directory(source)
    model, tokenizer = load_question_answering(directory, dtype="float32")
    return TaskModel(
        model.backbone,
        tokenizer,
        "XLMRobertaForQuestionAnswering",
        "question-answering",
        _dense("qa_outputs", model.span_dense),
        "question answering: start and end",
        {},
        model.backbone.max_sequence_length,
    )


def _tagger(source):
    from infoxlm_keras.finetuning.token_classification import load_token_classification

    model, tokenizer, labels = load_token_classification(_directory(source), dtype="float32")
    return TaskModel(
        model.backbone,
        tokenizer,
        "XLMRobertaForTokenClassification",
        "token-classification",
        _dense("classifier", model.output_dense),
        f"tagger of {', '.join(labels)}",
        {**_names(labels), "classifier_dropout": model.dropout},
        model.backbone.max_sequence_length,
    )


_LOADERS: dict[str, Callable[[PathLike], TaskModel]] = {
    CLASSIFIER: _classifier,
    QUESTION_ANSWERING: _question_answering,
    TAGGER: _tagger,
}


def _names(labels):
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def _directory(source: PathLike) -> pathlib.Path:
    """The directory of a preset of which `task_kind` named the kind: only one with a directory has a kind."""
    directory = locate(source).directory
    assert directory is not None
    return directory


def _dense(name, layer):
    return [Parameter(f"{name}.weight", layer.kernel, input_axes=1), Parameter(f"{name}.bias", layer.bias)]
