"""Fine-tunes on one language and measures in all: cross-lingual transfer. `text/labelled_texts.py` reads the data.

In reading order:

    classification.py       KerasHub's classifier on a pre-trained encoder: training, accuracy of each language
    question_answering.py   saving and loading a question-answering model
    run_output.py           the trained model is saved first and stays if a later step fails
    interruption.py         SIGTERM and Ctrl-C while a classifier is trained and saved
"""

from infoxlm_keras.finetuning.classification import (
    ClassificationSettings,
    TextClassifier,
    build_classifier,
    finetune_classifier,
    load_text_classifier,
    transfer_gap,
)
from infoxlm_keras.text.labelled_texts import LabelledTexts, read_labelled_texts
from infoxlm_keras.text.labels import check_labels, class_names, read_labels

__all__ = [
    "ClassificationSettings",
    "LabelledTexts",
    "TextClassifier",
    "build_classifier",
    "check_labels",
    "class_names",
    "finetune_classifier",
    "load_text_classifier",
    "read_labelled_texts",
    "read_labels",
    "transfer_gap",
]
