"""A model with a head of its own (question answering, tagging) as a preset directory with its tokenizer."""

from typing import TYPE_CHECKING, Any

import keras_hub

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.finite_weights import check_finite_weights
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.files.model_directory import model_directory

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.tokenizer import Tokenizer

TASK_WEIGHTS_FILE = "task.weights.h5"  # KerasHub's name of the file with the weights of encoder and head


def write_task_preset(directory: PathLike, model: keras_hub.models.Task, tokenizer: "Tokenizer") -> None:
    """Writes `model` and `tokenizer` into the existing `directory`.

    Raises:
        InputError: if the disk has no room for the model.
    """
    check_room(directory, model, model)
    model.save_to_preset(str(directory))
    keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto).save_to_preset(str(directory))


def load_task_preset(
    directory: PathLike, kind: type, what: str, saved_by: str, dtype: "str | keras.DTypePolicy | None" = None
) -> "tuple[Any, Tokenizer]":
    """Loads what `write_task_preset` wrote.

    Args:
        directory: str or path; an address in a store or a Hugging Face repository, as `model_directory` takes them.
        kind: class of the model, a `keras_hub.models.Task`.
        what: str, what the model is, such as `question-answering`.
        saved_by: str, the function or command that writes such a directory, for messages.
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        (a `kind`, `infoxlm_keras.tokenizer.Tokenizer`).

    Raises:
        InputError: if there is no such directory, it holds no such model, its files are damaged, or model and
            tokenizer do not belong together.
    """
    path = model_directory(directory)
    if path is None:
        raise InputError(f"{directory}: no such directory; give a directory that {saved_by} wrote")
    task = path / "task.json"
    content = read_json(task) if task.is_file() else None
    if not isinstance(content, dict) or content.get("class_name") != kind.__name__:
        raise InputError(f"{directory}: holds no {what} model; fine-tune one and save it with {saved_by}")
    if not (path / TASK_WEIGHTS_FILE).is_file():
        # KerasHub would give a random head.
        raise InputError(
            f"{directory}: lacks {TASK_WEIGHTS_FILE}, the weights of the head; copy the whole directory again"
        )
    with parsing(path, f"a complete {what} preset", f"save it again with {saved_by}"):
        model = kind.from_preset(str(path), **({} if dtype is None else {"dtype": dtype}))  # type: ignore[attr-defined]
    check_finite_weights(model, path)
    tokenizer = load_tokenizer(path)
    if tokenizer.vocabulary_size != model.backbone.vocabulary_size:
        raise InputError(
            f"{directory}: its tokenizer has {tokenizer.vocabulary_size} ids, its embedding "
            f"{model.backbone.vocabulary_size} rows; they do not belong together"
        )
    return model, tokenizer
