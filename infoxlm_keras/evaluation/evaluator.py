"""Retrieval evaluation of an encoder: pairs -> vectors of every layer -> accuracy both ways, per language."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.pairs import is_english
from infoxlm_keras.evaluation.retrieval import best_layer, layer_accuracies, mean_over_languages

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.evaluation.pairs import PairSet
    from infoxlm_keras.tokenizer import Tokenizer

LAYER_DEFINITION = (
    "hidden-state index: 0 is the embeddings' output, l is the output of Transformer layer l of 1..L. "
    "XTREME's script leaves the embeddings out, so its layer 7 is index 8 here."
)


def evaluate_retrieval(
    backbone: "keras_hub.models.XLMRobertaBackbone",
    tokenizer: "Tokenizer",
    pair_sets: "Sequence[PairSet]",
    layers: Sequence[int] | None = None,
    pooling: str = "mean",
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measures every language at every layer.

    Args:
        backbone, tokenizer, layers, pooling, batch_size, max_length: as `TextEmbedder`.
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`. If English is the target, under any of its codes, the
            sides are exchanged, so that a mean over languages has one direction for every order in the files' names.
        progress: optional function that is called with the number of texts just embedded.

    Returns:
        dict, ready for JSON, equal for equal weights and pairs:

            {"layer_definition": str, "pooling": "mean", "similarity": "cosine", "layers": [0, 1, ...],
             "best_layer": int,
             "languages": {"de": {"source": "en", "target": "de", "candidates": N,
                                  "source_to_target": [float, ...], "target_to_source": [float, ...]}, ...},
             "mean": {"source_to_target": [float, ...], "target_to_source": [float, ...]}}

        where lists of floats have one accuracy in 0..1 for each of `layers`, and `best_layer` is the hidden state with
        the highest mean over languages and directions *on these pairs*.

    Raises:
        InputError: if there is no pair set, two have the same languages, or a vector is not finite (names the language
            and the sentence).
    """
    pair_sets = [english_first(pair_set) for pair_set in pair_sets]
    names = [_filed_under(pair_set) for pair_set in pair_sets]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"pair sets of {', '.join(names) or 'no language'}: give one or more, no two of the same languages"
        )
    embedder = TextEmbedder(backbone, tokenizer, layers, pooling, batch_size, max_length)
    languages = {}
    sources: list[str] | None = None
    source_vectors = np.empty(0)
    for name, pair_set in zip(names, pair_sets, strict=True):
        # Parallel test sets share one English side: embed it once.
        if sources is None or pair_set.sources != sources:
            sources, source_vectors = pair_set.sources, embedder(pair_set.sources, progress)
        elif progress is not None:
            progress(len(sources))
        target_vectors = embedder(pair_set.targets, progress)
        try:
            accuracies = layer_accuracies(source_vectors, target_vectors)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        languages[name] = {
            "source": pair_set.source_language,
            "target": pair_set.target_language,
            "candidates": len(pair_set.sources),
            **accuracies,
        }
    mean = mean_over_languages(languages)
    return {
        "layer_definition": LAYER_DEFINITION,
        "pooling": pooling,
        "similarity": "cosine",
        "layers": embedder.layers,
        "best_layer": best_layer(embedder.layers, mean),
        "languages": languages,
        "mean": mean,
    }


def english_first(pair_set: "PairSet") -> "PairSet":
    """The `PairSet` with English as its source where only the target is English."""
    if is_english(pair_set.target_language) and not is_english(pair_set.source_language):
        return dataclasses.replace(
            pair_set,
            source_language=pair_set.target_language,
            target_language=pair_set.source_language,
            sources=pair_set.targets,
            targets=pair_set.sources,
        )
    return pair_set


def _filed_under(pair_set):
    """The language other than English, for any code of English; both languages if neither is English."""
    return pair_set.target_language if is_english(pair_set.source_language) else pair_set.language
