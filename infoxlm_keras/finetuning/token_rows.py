"""Token ids of samples as the arrays that an encoder takes."""

from collections.abc import Sequence

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.tokenizer import PAD_ID


def padded_rows(rows: Sequence[Sequence[int]], max_length: int) -> dict[str, Array]:
    """`token_ids` and `padding_mask`, int32 [samples, length].

    The length is that of the longest row, rounded up to a multiple of 8, and `max_length` at most.

    Args:
        rows: list of lists of int, none longer than `max_length`, no padding among them.
        max_length: int.

    Example:
    ```python
    padded_rows([[0, 5, 2], [0, 2]], 4)["padding_mask"]  # [[1, 1, 1, 0], [1, 1, 0, 0]]
    ```
    """
    length = min(max_length, -(-max(map(len, rows)) // 8) * 8)
    token_ids = np.full((len(rows), length), PAD_ID, np.int32)
    for row, ids in zip(token_ids, rows, strict=True):
        row[: len(ids)] = ids
    return {"token_ids": token_ids, "padding_mask": (token_ids != PAD_ID).astype(np.int32)}
