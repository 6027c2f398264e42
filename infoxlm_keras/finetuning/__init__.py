"""Fine-tunes on one language and measures in all: cross-lingual transfer. Each head is one file and one row.

In reading order:

    head.py                 what a head is: its data, its model, its scores
    registry.py             the heads by name
    loop.py                 the training of all heads; the transfer gap
    classification.py       KerasHub's classifier on a pre-trained encoder; `text/labelled_texts.py` reads the data
    question_answering.py   saving and loading a question-answering model
    run_output.py           the trained model is saved first and stays if a later step fails
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.finetuning.classification import (
        ClassificationSettings as ClassificationSettings,
        LabelledTexts as LabelledTexts,
        TextClassifier as TextClassifier,
        build_classifier as build_classifier,
        check_labels as check_labels,
        class_names as class_names,
        finetune_classifier as finetune_classifier,
        load_text_classifier as load_text_classifier,
        read_labelled_texts as read_labelled_texts,
        read_labels as read_labels,
    )
    from infoxlm_keras.finetuning.head import FineTuningHead as FineTuningHead
    from infoxlm_keras.finetuning.loop import (
        FineTuningSettings as FineTuningSettings,
        finetune as finetune,
        transfer_gap as transfer_gap,
    )

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "classification": (
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
        ),
        "head": ("FineTuningHead",),
        "loop": ("FineTuningSettings", "finetune", "transfer_gap"),
    },
)
