"""A token-classification model as a preset directory with its tokenizer and the names of its classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.files import MODEL_FOLDER, new_directory
from infoxlm_keras.finetuning.task_preset import load_task_preset, write_task_preset
from infoxlm_keras.models import TokenClassification
from infoxlm_keras.text.labels import read_labels, write_labels

if TYPE_CHECKING:
    import keras

    from infoxlm_keras.tokenizer import Tokenizer


def save_token_classification(
    directory: PathLike,
    model: TokenClassification,
    tokenizer: "Tokenizer",
    labels: Sequence[str],
    replace: bool = False,
) -> None:
    """Writes a preset directory with the head, the tokenizer and `labels.json`, completely or not at all.

    Args:
        directory: str or path.
        model: `TokenClassification`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        labels: list of str, the tags in the order of the outputs.
        replace: bool, overwrite an existing directory.
    """
    with new_directory(directory, replace, contents=MODEL_FOLDER) as temporary:
        write_task_preset(temporary, model, tokenizer)
        write_labels(temporary, labels)


def load_token_classification(
    directory: PathLike, dtype: "str | keras.DTypePolicy | None" = None
) -> "tuple[TokenClassification, Tokenizer, list[str]]":
    """Loads what `save_token_classification` or `infoxlm finetune-tagging` wrote.

    Args:
        directory: str or path, an address in a store (`gs://`, `s3://`), or a Hugging Face repository (`hf://org/name`).
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        (`TokenClassification`, `infoxlm_keras.tokenizer.Tokenizer`, labels): list of str, the tags in the order of the
        outputs.

    Raises:
        InputError: if there is no such directory, it holds no such model, its files are damaged, or its parts do not
            belong together.
    """
    model, tokenizer = load_task_preset(
        directory, TokenClassification, "token-classification", "infoxlm finetune-tagging", dtype
    )
    return model, tokenizer, read_labels(directory, model.num_classes, "infoxlm finetune-tagging")
