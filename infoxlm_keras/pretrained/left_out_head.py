"""The head of a fine-tuned model that a changed encoder does not keep."""

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.keras_hub_preset import task_class_name
from infoxlm_keras.conversion.sources import KERAS, locate
from infoxlm_keras.models.question_answering import QuestionAnswering
from infoxlm_keras.models.token_classification import TokenClassification

# Class of a preset -> its head in words.
TASK_HEADS = {
    "XLMRobertaTextClassifier": "classifier",
    QuestionAnswering.__name__: "question-answering head",
    TokenClassification.__name__: "tagging head",
}


def left_out_head(source: PathLike) -> str | None:
    """The head, in words, that `load_pretrained` leaves out of the model `source`; None if there is none.

    Example:
    ```python
    left_out_head("runs/xnli/model")  # "classifier"
    ```
    """
    location = locate(source)
    if location.layout != KERAS or location.directory is None:
        return None
    name = task_class_name(location.directory)
    return None if name is None or name.endswith("MaskedLM") else TASK_HEADS.get(name, f"head of {name}")


def print_left_out_head(source: PathLike) -> None:
    """Says so on the console."""
    head = left_out_head(source)
    if head is not None:
        print(f"note: the {head} of {source} is left out, only its encoder is written; fine-tune the result")
