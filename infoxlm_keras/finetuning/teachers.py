"""Vectors that trained models give the training texts: a teacher's, which are learned, and a guide's.

They are computed once, before training, and lie in memory: 4 bytes a number.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.distribution import current_distribution
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.retrieval import unit_rows
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.pretrained import load_pretrained
from infoxlm_keras.pretrained.digest import model_digest
from infoxlm_keras.pretrained.prompts import DOCUMENT, QUERY, side_prompts
from infoxlm_keras.text.embedding_samples import EmbeddingSamples
from infoxlm_keras.text.equal_texts import folded_text

if TYPE_CHECKING:
    from infoxlm_keras.finetuning.embedding import EmbeddingSettings

HOW_TO_WRITE = "write it by numpy.savez(FILE, texts=[...], vectors=[...])"
# Documents that are told to be right for a query: so many of them at most.
MOST_RIGHT = 64
# The sides of the texts that a model reads, by the setting that names it.
READ_SIDES = {"teacher": (QUERY,), "guide": (QUERY, DOCUMENT)}


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
        self._made: dict[tuple[str, str], dict[str, Array]] = {}
        self._sources: dict[tuple[str, str], Any] = {}

    def text_numbers(self) -> dict[str, Array]:
        """Which texts are equal, and which are right for a query, in all the training data.

        Returns:
            dict of `document_text`, int32 [samples, 1 + negatives], and `right_text`, int32 [samples, r], of each
            query its own document, and those of equal queries, at most `MOST_RIGHT`; -1 for none.
        """
        known: dict[str, int] = {}
        numbers = np.array([known.setdefault(folded_text(text), len(known)) for text in self.documents], np.int32)
        numbers = numbers.reshape(len(self.queries), 1 + self.negatives)
        queries = [folded_text(text) for text in self.queries]
        right: dict[str, dict[int, None]] = {}
        for query, number in zip(queries, numbers[:, 0].tolist(), strict=True):
            right.setdefault(query, {})[number] = None
        most = min(MOST_RIGHT, max(map(len, right.values())))
        rights = np.full((len(queries), most), -1, np.int32)
        for row, (query, own) in enumerate(zip(queries, numbers[:, 0].tolist(), strict=True)):
            others = (number for number in right[query] if number != own)
            found = [own, *itertools.islice(others, most - 1)]
            rights[row, : len(found)] = found
        return {"document_text": numbers, "right_text": rights}

    def arrays(self, settings: EmbeddingSettings) -> dict[str, Array]:
        """What `settings` ask for, of unit length; computed once.

        Returns:
            dict of `teacher`, float32 [samples, dim]; `guide_query`, float32 [samples, dim of the guide], and
            `guide_document`, float32 [samples, 1 + negatives, dim of the guide].

        Raises:
            InputError: if a model or file cannot be read, or the file lacks a query.
        """
        found: dict[str, Array] = {}
        if settings.teacher is not None:
            found.update(self._once("teacher", settings.teacher, self._of_teacher))
        if settings.teacher_vectors is not None:
            found.update(self._once("teacher_vectors", settings.teacher_vectors, self._of_file))
        if settings.guide is not None:
            found.update(self._once("guide", settings.guide, self._of_guide))
        return found

    def sources(self, settings: EmbeddingSettings) -> dict[str, Any]:
        """What the vectors of `arrays` come from, ready for JSON.

        It is the same on all machines. The vectors that a model computes are not: their last bits depend on the
        processor and its libraries.

        Returns:
            dict of `teacher` and `guide`, a dict of `model` (`model_digest`) and of what decides its vectors; and of
            `teacher_vectors`, SHA-256 of the numbers that the file has for the training queries.

        Raises:
            InputError: as of `arrays`.
        """
        found = {}
        for kind in READ_SIDES:
            source = getattr(settings, kind)
            if source is not None:
                if (kind, source) not in self._sources:
                    with current_distribution().alone():
                        self._sources[kind, source] = _described(load_pretrained(source), READ_SIDES[kind])
                found[kind] = self._sources[kind, source]
        file = settings.teacher_vectors
        if file is not None:
            self._once("teacher_vectors", file, self._of_file)
            found["teacher_vectors"] = self._sources["teacher_vectors", file]
        return found

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
        return {"teacher": self._encoded("teacher", source)[QUERY]}

    def _of_file(self, path):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in ("texts", "vectors") if name in file.files}
        except FileNotFoundError:
            raise InputError(f"{path}: no such file") from None
        except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: holds no arrays of NumPy (.npz): {error}; {HOW_TO_WRITE}") from None
        texts, vectors = arrays.get("texts"), arrays.get("vectors")
        if texts is None or vectors is None or texts.ndim != 1 or texts.dtype.kind != "U":
            raise InputError(f"{path}: lacks texts, str [n], or vectors, float [n, dim]; {HOW_TO_WRITE}")
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.issubdtype(vectors.dtype, np.floating):
            raise InputError(
                f"{path}: vectors has the shape {list(vectors.shape)} of {vectors.dtype}, but there are "
                f"{len(texts):,} texts; {HOW_TO_WRITE}"
            )
        unsound = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
        if unsound.size:
            raise InputError(
                f"{path}: row {unsound[0]} (from 0) of vectors is zero or not finite; it has no direction"
            )
        places = {text: place for place, text in enumerate(texts.tolist())}
        missing = [text for text in self.queries if text not in places]
        if missing:
            raise InputError(
                f"{path}: has no vector of {len(missing):,} of {len(self.queries):,} training queries, such as "
                f"{missing[0]!r:.100}"
            )
        vectors = vectors[[places[text] for text in self.queries]]
        # Before they are scaled, which is a computation.
        content = f"{vectors.dtype.str} {vectors.shape}".encode() + vectors.tobytes()
        self._sources["teacher_vectors", path] = hashlib.sha256(content).hexdigest()
        return {"teacher": unit_rows(vectors)}

    def _of_guide(self, source):
        vectors = self._encoded("guide", source)
        documents = vectors[DOCUMENT].reshape(len(self.queries), 1 + self.negatives, -1)
        return {"guide_query": vectors[QUERY], "guide_document": documents}

    def _encoded(self, kind, source):
        """Unit vectors of a trained model, with its prompts: dict of QUERY or DOCUMENT to those of all texts."""
        texts = {QUERY: self.queries, DOCUMENT: self.documents}
        with current_distribution().alone():
            model = load_pretrained(source)
            self._sources[kind, source] = _described(model, READ_SIDES[kind])
            prompts = side_prompts(model.info)
            return {
                side: _unit_rows(source, model.encode([prompts.get(side, "") + text for text in texts[side]]))
                for side in READ_SIDES[kind]
            }


def _described(model, sides):
    """A `PretrainedModel` and what decides the vectors that it gives the texts of `sides`, ready for JSON."""
    prompts = side_prompts(model.info)
    return {
        "model": model_digest(model),
        **dataclasses.asdict(sentence_vector(model, lowest=0)),
        **{f"{side}_prompt": prompts.get(side, "") for side in sides},
    }


def _unit_rows(source, vectors):
    try:
        return unit_rows(vectors)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
