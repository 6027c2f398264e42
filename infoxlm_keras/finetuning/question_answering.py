"""A question-answering model as a preset directory."""

from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files import MODEL_FOLDER, new_directory
from infoxlm_keras.finetuning.task_preset import load_task_preset, write_task_preset
from infoxlm_keras.models.question_answering import QuestionAnswering

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.tokenizer import Tokenizer


def save_question_answering(
    directory: PathLike, model: QuestionAnswering, tokenizer: "Tokenizer", replace: bool = False
) -> None:
    """Writes a preset directory with the head and the tokenizer, completely or not at all.

    Args:
        directory: str or path.
        model: `QuestionAnswering`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        replace: bool, overwrite an existing directory.
    """
    with new_directory(directory, replace, contents=MODEL_FOLDER) as temporary:
        write_task_preset(temporary, model, tokenizer)


def load_question_answering(
    directory: PathLike, dtype: "str | keras.DTypePolicy | None" = None
) -> "tuple[QuestionAnswering, Tokenizer]":
    """Loads what `save_question_answering` or `infoxlm finetune-qa` wrote.

    Args:
        directory: str or path, an address in a store (`gs://`, `s3://`), or a Hugging Face repository (`hf://org/name`).
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        (`QuestionAnswering`, `infoxlm_keras.tokenizer.Tokenizer`).

    Raises:
        InputError: if there is no such directory, it holds no question-answering model, its files are damaged, or
            model and tokenizer do not belong together.
    """
    return load_task_preset(directory, QuestionAnswering, "question-answering", "save_question_answering", dtype)
