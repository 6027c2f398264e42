"""Sentences to the vectors that a model was trained to give, and their similarity: the Python face of a model."""

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.progress import progress_bar

# More texts than this take seconds, even with a small model: a bar is shown.
LONG_INPUT = 1000
# A vector shorter than this is scaled as if it had this length; the same bound as `models.pooling.l2_normalize`.
SHORTEST = 1e-6


class SentenceEncoder:
    """The own sentence vectors of a model; make it once and call it often, it compiles a shape only once.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        batch_size: int, texts a forward pass.
        layer, pooling: see `infoxlm_keras.models.sentence_vector.sentence_vector`; None: as trained.

    Raises:
        InputError: for a setting out of range, or a model whose own vector cannot be expressed.
    """

    def __init__(self, model: Any, batch_size: int = 64, layer: int | None = None, pooling: str | None = None) -> None:
        self.vector = vector = sentence_vector(model, layer=layer, pooling=pooling, lowest=0)
        self.embedder = TextEmbedder(
            model.backbone, model.tokenizer, [vector.layer], vector.pooling, batch_size, vector.max_length
        )

    def __call__(self, texts: str | Iterable[str], progress: bool | None = None, prefix: str = "") -> Array:
        """Vectors of `texts`, each with `prefix` (str) before it; see `PretrainedModel.encode`."""
        single = isinstance(texts, str)
        rows = [texts] if isinstance(texts, str) else check_texts(texts)
        rows = [prefix + text for text in rows] if prefix else rows
        shown = len(rows) > LONG_INPUT if progress is None else progress
        with progress_bar("encoding", total=len(rows), unit="texts") if shown else contextlib.nullcontext() as advance:
            done = None if advance is None else lambda count: advance(count, units=count)
            vectors = self.embedder(rows, done)[0]
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=-1))
        if broken.size:
            raise InputError(
                f"the vector of text {broken[0]} (from 0) is not finite; the model's weights or precision are broken"
            )
        if self.vector.normalize:
            vectors = unit_length(vectors)
        return vectors[0] if single else vectors


def check_texts(texts: Iterable[str]) -> list[str]:
    """`texts` as a list of str.

    Raises:
        InputError: if it is no iterable of str (names the first that is not).
    """
    try:
        texts = list(texts)
    except TypeError:
        raise InputError(f"texts = {texts!r:.60}: give a str or a list of str") from None
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"text number {number} is a {type(text).__name__}, not a str: {text!r:.60}")
    return texts


def unit_length(vectors: Array) -> Array:
    """`vectors` float32 [..., dim] scaled to unit length; a zero vector stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, np.float32(SHORTEST))


def cosine_similarity(a: Any, b: Any) -> Array:
    """Cosine of each vector of `a` with each vector of `b`.

    Args:
        a: float [n, dim], or [dim] for one vector.
        b: float [m, dim], or [dim].

    Returns:
        float32 [n, m], without the axis of a side that is one vector.

    Raises:
        InputError: if they are no such arrays, or their `dim` differs.
    """
    sides = []
    for name, side in (("a", a), ("b", b)):
        try:
            side = np.asarray(side, np.float32)
        except (TypeError, ValueError):
            raise InputError(f"similarity: {name} is no array of numbers; give texts, or vectors of encode") from None
        if side.ndim not in (1, 2):
            raise InputError(f"similarity: {name} has the shape {list(side.shape)}, but must be [n, dim] or [dim]")
        sides.append(unit_length(side))
    a, b = sides
    if a.shape[-1] != b.shape[-1]:
        raise InputError(f"similarity: vectors of {a.shape[-1]} and of {b.shape[-1]} numbers cannot be compared")
    return a @ b.T
