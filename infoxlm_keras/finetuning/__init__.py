"""Fine-tuning on one language, and measuring in all: does what was learned transfer?

In reading order:

    labelled_texts.py   XNLI, MultiNLI, PAWS-X and other TSV or JSON lines -> labelled texts of each language
    classification.py   KerasHub's classifier on a pre-trained encoder: training, accuracy of each language
"""

from infoxlm_keras.finetuning.classification import (
    ClassificationSettings,
    TextClassifier,
    build_classifier,
    finetune_classifier,
    load_text_classifier,
    transfer_gap,
)
from infoxlm_keras.finetuning.labelled_texts import LabelledTexts, read_labelled_texts

__all__ = [
    "ClassificationSettings",
    "LabelledTexts",
    "TextClassifier",
    "build_classifier",
    "finetune_classifier",
    "load_text_classifier",
    "read_labelled_texts",
    "transfer_gap",
]
