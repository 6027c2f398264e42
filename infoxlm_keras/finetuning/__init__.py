"""Fine-tunes on one language and measures in all: cross-lingual transfer. Each head is one file and one row.

In reading order:

    head.py                 what a head is: its data, its model, its scores
    registry.py             the heads by name
    settings.py             how it is trained
    loop.py                 one run: built or restored, trained, measured, saved. It uses head_task.py (the head as a
                            task of the pretrainer), sample_batches.py, development_scores.py and prediction.py
    identity.py             what a run was made of: it is continued with the same only
    trials.py               several seeds and learning rates, and what they say together
    classification.py       KerasHub's classifier on a pre-trained encoder; `text/labelled_texts.py` reads the data
    question_answering_head.py   spans of texts as answers; `text/questions.py` reads the data
    tagging.py              tags of words; `text/tagged_sentences.py` reads the data
    embedding.py            sentence vectors; embedding_task.py (their loss over a whole update, by cached gradients),
                            teachers.py; `text/embedding_samples.py` reads the data
    length_groups.py        batches of samples of about equal length
    token_rows.py           token ids as padded arrays
    question_answering.py, token_classification.py   their models on disk, by task_preset.py
    run_output.py           the folder of a command
    transfer.py             what a language loses that was not trained on
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.finetuning.classification import (
        ClassificationHead as ClassificationHead,
        ClassificationSettings as ClassificationSettings,
        LabelledTexts as LabelledTexts,
        TextClassifier as TextClassifier,
        check_labels as check_labels,
        class_names as class_names,
        load_text_classifier as load_text_classifier,
        read_labelled_texts as read_labelled_texts,
        read_labels as read_labels,
    )
    from infoxlm_keras.finetuning.embedding import (
        EmbeddingHead as EmbeddingHead,
        EmbeddingSettings as EmbeddingSettings,
    )
    from infoxlm_keras.finetuning.embedding_task import EmbeddingTask as EmbeddingTask, UpdateLoss as UpdateLoss
    from infoxlm_keras.finetuning.head import FineTuningHead as FineTuningHead
    from infoxlm_keras.finetuning.loop import FineTuningRun as FineTuningRun, Stopped as Stopped
    from infoxlm_keras.finetuning.question_answering import (
        load_question_answering as load_question_answering,
        save_question_answering as save_question_answering,
    )
    from infoxlm_keras.finetuning.question_answering_head import (
        QuestionAnsweringHead as QuestionAnsweringHead,
        QuestionAnsweringSettings as QuestionAnsweringSettings,
    )
    from infoxlm_keras.finetuning.settings import FineTuningSettings as FineTuningSettings
    from infoxlm_keras.finetuning.tagging import TaggingHead as TaggingHead, TaggingSettings as TaggingSettings
    from infoxlm_keras.finetuning.token_classification import (
        load_token_classification as load_token_classification,
        save_token_classification as save_token_classification,
    )
    from infoxlm_keras.finetuning.transfer import transfer_gap as transfer_gap

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "classification": (
            "ClassificationHead",
            "ClassificationSettings",
            "LabelledTexts",
            "TextClassifier",
            "check_labels",
            "class_names",
            "load_text_classifier",
            "read_labelled_texts",
            "read_labels",
        ),
        "embedding": ("EmbeddingHead", "EmbeddingSettings"),
        "embedding_task": ("EmbeddingTask", "UpdateLoss"),
        "head": ("FineTuningHead",),
        "loop": ("FineTuningRun", "Stopped"),
        "question_answering": ("load_question_answering", "save_question_answering"),
        "question_answering_head": ("QuestionAnsweringHead", "QuestionAnsweringSettings"),
        "settings": ("FineTuningSettings",),
        "tagging": ("TaggingHead", "TaggingSettings"),
        "token_classification": ("load_token_classification", "save_token_classification"),
        "transfer": ("transfer_gap",),
    },
)
