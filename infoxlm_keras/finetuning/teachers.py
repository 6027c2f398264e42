"""Vectors that trained models give the training texts: a teacher's, which are learned, and a guide's.

They are computed once, before training, and lie in memory: 4 bytes a number.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.distribution import current_distribution
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.pretrained.prompts import DOCUMENT, QUERY, side_prompts
from infoxlm_keras.text.embedding_samples import EmbeddingSamples

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.embedding import EmbeddingSettings


class TrainedVectors:
    """The training texts of a sentence encoder, and what trained models say of them.

    Args:
        training: list of `EmbeddingSamples`.

    Attributes:
        queries: list of str, of all languages.
        documents: list of str: of each query its positive, then its negatives.
        negatives: int, of each query.

    Raises:
        InputError: if the samples of some languages have more negatives than those of others.
    """

    def __init__(self, training: Sequence[EmbeddingSamples]) -> None:
        counts = {part.language: len(part.negatives[0]) if part.negatives else 0 for part in training}
        if len(set(counts.values())) > 1:
            found = ", ".join(f"{language} {count}" for language, count in counts.items())
            raise InputError(f"negatives of each sample: {found}; give the samples of all languages the same number")
        self.negatives = next(iter(counts.values()), 0)
        self.queries = [text for part in training for text in part.queries]
        rows = (
            (positive, *negatives)
            for part in training
            for positive, negatives in zip(part.positives, part.negatives or itertools.repeat(()), strict=False)
        )
        self.documents = [text for row in rows for text in row]
        self._made: dict[tuple[str, str | None], dict[str, Array]] = {}

    def arrays(self, settings: EmbeddingSettings) -> dict[str, Array]:
        """What `settings` ask for, of unit length; computed once.

        Returns:
            dict of `teacher`, float32 [samples, dim]; `guide_query`, float32 [samples, dim of the guide], and
            `guide_document`, float32 [samples, 1 + negatives, dim of the guide].

        Raises:
            InputError: if a model or file cannot be read, or the teacher's vectors are not one for each sample.
        """
        found: dict[str, Array] = {}
        if settings.teacher is not None:
            found.update(self._once("teacher", settings.teacher, self._of_teacher))
        if settings.teacher_vectors is not None:
            found.update(self._once("teacher", settings.teacher_vectors, self._of_file))
        if settings.guide is not None:
            found.update(self._once("guide", settings.guide, self._of_guide))
        return found

    def digests(self, settings: EmbeddingSettings) -> dict[str, str]:
        """dict of name to SHA-256 of what `arrays` gives."""
        return {name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in self.arrays(settings).items()}

    def checked(self, settings: EmbeddingSettings, width: int) -> dict[str, Array]:
        """`arrays`, if the teacher fits a model in training whose vectors have `width` (int) numbers.

        Raises:
            InputError: if it does not, or as of `arrays`.
        """
        found = self.arrays(settings)
        if "teacher" in found and found["teacher"].shape[1] != width:
            raise InputError(
                f"{settings.teacher or settings.teacher_vectors}: the teacher's vectors have "
                f"{found['teacher'].shape[1]} numbers, those of the model in training {width}; they must have the same"
            )
        return found

    def _once(self, kind, source, make):
        if (kind, source) not in self._made:
            self._made[kind, source] = make(source)
        return self._made[kind, source]

    def _of_teacher(self, source):
        return {"teacher": _encoded(source, {QUERY: self.queries})[QUERY]}

    def _of_file(self, path):
        try:
            vectors = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: holds no array of NumPy (.npy): {error}") from None
        shape: tuple[int, ...] = getattr(vectors, "shape", ())
        if len(shape) != 2 or not np.issubdtype(vectors.dtype, np.floating):
            raise InputError(f"{path}: holds no vectors, floating-point numbers [samples, dim]")
        if shape[0] != len(self.queries):
            raise InputError(
                f"{path}: holds {shape[0]:,} vectors, but there are {len(self.queries):,} training samples; give one "
                "for each, in the order of the files of --train"
            )
        return {"teacher": _unit_rows(path, vectors)}

    def _of_guide(self, source):
        vectors = _encoded(source, {QUERY: self.queries, DOCUMENT: self.documents})
        documents = vectors[DOCUMENT].reshape(len(self.queries), 1 + self.negatives, -1)
        return {"guide_query": vectors[QUERY], "guide_document": documents}


def _encoded(source, texts):
    """Unit vectors of a trained model, with its prompts: dict of QUERY or DOCUMENT to vectors of a list of str."""
    with current_distribution().alone():
        model = load_pretrained(source)
        prompts = side_prompts(model.info)
        return {
            side: _unit_rows(source, model.encode([prompts.get(side, "") + text for text in rows]))
            for side, rows in texts.items()
        }


def _unit_rows(source, vectors):
    try:
        return unit_rows(vectors)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
