"""A question-answering model as a preset directory."""

import pathlib
from typing import TYPE_CHECKING

import keras_hub

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.finite_weights import check_finite_weights
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import MODEL_FILES, new_directory, parsing, read_json
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.models.question_answering import QuestionAnswering

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.tokenizer import Tokenizer

TASK_WEIGHTS_FILE = "task.weights.h5"


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
    with new_directory(directory, replace, holds=MODEL_FILES) as temporary:
        check_room(temporary, model, model)
        model.save_to_preset(str(temporary))
        keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto).save_to_preset(str(temporary))


def load_question_answering(
    directory: PathLike, dtype: "str | keras.DTypePolicy | None" = None
) -> "tuple[QuestionAnswering, Tokenizer]":
    """Loads what `save_question_answering` wrote.

    Args:
        directory: str or path.
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        (`QuestionAnswering`, `infoxlm_keras.tokenizer.Tokenizer`).

    Raises:
        InputError: if there is no such directory, it holds no question-answering model, its files are damaged, or
            model and tokenizer do not belong together.
    """
    path = pathlib.Path(directory)
    if not path.is_dir():
        raise InputError(f"{directory}: no such directory; give a directory that save_question_answering wrote")
    task = path / "task.json"
    content = read_json(task) if task.is_file() else None
    if not isinstance(content, dict) or content.get("class_name") != QuestionAnswering.__name__:
        raise InputError(
            f"{directory}: holds no question-answering model; fine-tune one and save it with save_question_answering"
        )
    if not (path / TASK_WEIGHTS_FILE).is_file():
        # KerasHub would give a random head.
        raise InputError(
            f"{directory}: lacks {TASK_WEIGHTS_FILE}, the weights of the head; copy the whole directory again"
        )
    with parsing(path, "a complete question-answering preset", "save it again with save_question_answering"):
        model = QuestionAnswering.from_preset(str(path), **({} if dtype is None else {"dtype": dtype}))
    check_finite_weights(model, path)
    tokenizer = load_tokenizer(path)
    if tokenizer.vocabulary_size != model.backbone.vocabulary_size:
        raise InputError(
            f"{directory}: its tokenizer has {tokenizer.vocabulary_size} ids, its embedding "
            f"{model.backbone.vocabulary_size} rows; they do not belong together"
        )
    return model, tokenizer
