"""Unit vectors of a side's sentences, on disk, in pieces that an interrupted run need not compute again."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.files.disk_room import check_free
from infoxlm_keras.mining.row_file import RowFile
from infoxlm_keras.mining.work_folder import WorkFolder


class Sentences(Protocol):
    """Texts by number, from 0."""

    def __len__(self) -> int: ...

    def rows(self, numbers: Array) -> list[tuple[Any, str]]:
        """(name for messages, text) of each of `numbers` (int [n])."""
        ...


def embed_side(
    side: str,
    sentences: Sentences,
    embedder: Callable[..., Array],
    dim: int,
    work: WorkFolder,
    chunk: int,
    dtype: str = "float32",
    progress: Callable[[int], object] | None = None,
) -> Array:
    """The vectors of `sentences`, computed and written chunk by chunk.

    Args:
        side: str, name of the file and of the stage.
        sentences: `Sentences`, a `SentenceStore` for one.
        embedder: function of a list of str to float32 [1, texts, dim] (`TextEmbedder`).
        dim: int.
        work: `WorkFolder`.
        chunk: int, sentences between two records of the progress.
        dtype: "float32" or "float16", of the file.
        progress: optional function of the number of sentences that are done, the earlier run's first.

    Returns:
        `numpy.memmap` [sentences, dim], read-only.

    Raises:
        InputError: if a vector is not finite (names the sentences of its chunk), or the disk has too little space.
    """
    file, stage = RowFile(work.path / f"{side}.vectors", dtype, dim), f"{side} vectors"
    done = min(work.done(stage), file.rows)
    check_free(work.path, (len(sentences) - done) * dim * file.dtype.itemsize)
    if progress is not None:
        progress(done)
    for start in range(done, len(sentences), chunk):
        numbers = np.arange(start, min(start + chunk, len(sentences)))
        rows = sentences.rows(numbers)
        try:
            vectors = unit_rows(embedder([text for _, text in rows])[0])
        except InputError as error:
            raise InputError(f"{side} sentences {rows[0][0]} to {rows[-1][0]}: {error}") from None
        file.write(start, vectors)
        work.record(stage, start + len(rows))
        if progress is not None:
            progress(len(rows))
    return file.open()
