"""What Keras' `fit` hands to a training step, and whether it fits the model."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.tokenizer import PAD_ID


def unpack_batch(data: Any) -> Any:
    """The batch `{task name: tensors}` in an element of the data set: itself, or a tuple or list that holds it."""
    return data[0] if isinstance(data, tuple | list) else data


def first_batch(data: Any) -> dict[str, dict[str, Array]] | None:
    """The first element of what `fit` is given, as a batch of NumPy arrays; None if reading it would consume it.

    Args:
        data: `tf.data.Dataset`, or one batch (a dict, or a tuple that holds it). A generator gives None.
    """
    if hasattr(data, "take") and hasattr(data, "element_spec"):
        data = next(iter(data.take(1)), None)
    batch = unpack_batch(data) if isinstance(data, tuple | list | dict) else None
    if not isinstance(batch, dict) or not all(isinstance(tensors, dict) for tensors in batch.values()):
        return None
    return {task: {name: np.asarray(tensor) for name, tensor in tensors.items()} for task, tensors in batch.items()}


def check_batch(
    batch: dict[str, dict[str, Array]], task_names: Iterable[str], vocabulary_size: int, max_sequence_length: int
) -> None:
    """Checks that the model can be trained on a batch.

    Args:
        batch: {task name: {name: array}}; ids are int [batch, length], see the tasks.
        task_names: the tasks that are trained.
        vocabulary_size: int, rows of the token embedding.
        max_sequence_length: int, positions of the model.

    Raises:
        InputError: for a task without its part of the batch, a sequence longer than the model's positions, a token id
            outside the vocabulary, padding with another id than 1, or a prediction beyond the sequence's end.
    """
    for task in task_names:
        if task not in batch:
            found = ", ".join(batch) or "nothing"
            raise InputError(f"the batch holds {found}, and lacks the part of the task {task}; add that task's stream")
        for name, ids in batch[task].items():
            if not name.endswith(("token_ids", "mask_ids")):
                continue
            where = f"{task}.{name}"
            if ids.size and not 0 <= ids.min() <= ids.max() < vocabulary_size:
                odd = int(ids.min() if ids.min() < 0 else ids.max())
                raise InputError(
                    f"{where}: holds token id {odd}, but the model's ids are 0..{vocabulary_size - 1}; "
                    "were the records made with another tokenizer?"
                )
            if name.endswith("token_ids"):
                _check_sequence(
                    ids, batch[task][name.replace("token_ids", "padding_mask")], where, max_sequence_length
                )
        positions = batch[task].get("mask_positions")
        if positions is not None and positions.size:
            length = batch[task]["token_ids"].shape[1]
            if not 0 <= positions.min() <= positions.max() < length:
                raise InputError(
                    f"{task}.mask_positions: holds {int(positions.max())}, but sequences end at {length - 1}"
                )


def _check_sequence(ids, mask, where, max_sequence_length):
    if ids.shape[1] > max_sequence_length:
        raise InputError(
            f"{where}: sequences have {ids.shape[1]} tokens, but the model has {max_sequence_length} positions"
        )
    padding = ids[mask == 0]
    if padding.size and (padding != PAD_ID).any():
        raise InputError(
            f"{where}: is padded with id {int(padding[padding != PAD_ID][0])}, but <pad> is {PAD_ID} in XLM-R's layout"
        )
