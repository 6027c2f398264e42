"""Retrieval evaluation of an encoder: pairs -> vectors of every layer -> accuracy both ways, per language."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.annotations import Array
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.bootstrap import SEED, bootstrap_means, interval
from infoxlm_keras.evaluation.embedding import SPECIAL_TOKENS, TextEmbedder
from infoxlm_keras.evaluation.margin import NEIGHBOURS
from infoxlm_keras.evaluation.mixed_pool import mixed_pool_credits, pool_of
from infoxlm_keras.evaluation.pairs import is_language
from infoxlm_keras.evaluation.retrieval import (
    COSINE,
    DIRECTIONS,
    best_layer,
    mean_over_languages,
    retrieval_credits,
    xsim_errors,
)
from infoxlm_keras.tokenizer import UNKNOWN_ID

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.evaluation.pairs import PairSet
    from infoxlm_keras.tokenizer import Tokenizer

LAYER_DEFINITION = (
    "hidden-state index: 0 is the embeddings' output, l is the output of Transformer layer l of 1..L. "
    "XTREME's script leaves the embeddings out, so its layer 7 is index 8 here."
)


@dataclasses.dataclass(frozen=True)
class RetrievalOptions:
    """What is measured beside the accuracies by cosine.

    Attributes:
        similarity: one of `infoxlm_keras.evaluation.retrieval.SIMILARITIES`.
        neighbours: int, k of a margin, at least 1.
        bootstrap: int, resamplings for the intervals; 0: no intervals.
        xsim: bool, xSIM's error rates too.
        mixed_pool: bool, retrieval among the sentences of all languages too. It needs one layer.
        groups: mapping of name to list of languages, of which means are taken.

    Raises:
        InputError: for a number out of range.
    """

    similarity: str = COSINE
    neighbours: int = NEIGHBOURS
    bootstrap: int = 0
    xsim: bool = False
    mixed_pool: bool = False
    groups: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("neighbours", 1), ("bootstrap", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least {least}")


def evaluate_retrieval(
    backbone: "keras_hub.models.XLMRobertaBackbone",
    tokenizer: "Tokenizer",
    pair_sets: "Sequence[PairSet]",
    layers: Sequence[int] | None = None,
    pooling: str = "mean",
    batch_size: int = 64,
    max_length: int | None = None,
    progress: Callable[[int], object] | None = None,
    options: RetrievalOptions | None = None,
) -> dict[str, Any]:
    """Measures every language at every layer.

    Args:
        backbone, tokenizer, layers, pooling, batch_size, max_length: as `TextEmbedder`.
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`. If the pivot (English) is the target, under any of its
            codes, the sides are exchanged, so that a mean over languages has one direction for every order in the
            files' names.
        progress: optional function that is called with the number of texts just embedded.
        options: `RetrievalOptions`; None: cosine, and no more than the accuracies.

    Returns:
        dict, ready for JSON, equal for equal weights and pairs:

            {"layer_definition": str, "pooling": "mean", "similarity": "cosine", "layers": [0, 1, ...],
             "best_layer": int, "max_length": int,
             "languages": {"de": {"source": "en", "target": "de", "candidates": N, "chance": 1 / N,
                                  "unknown_tokens": {"source": float, "target": float},
                                  "cut_sentences": {"source": int, "target": int},
                                  "source_to_target": [float, ...], "target_to_source": [float, ...]}, ...},
             "mean": {"source_to_target": [float, ...], "target_to_source": [float, ...]},
             "chance": float, "groups": {"tatoeba-14": {"languages": [...], "source_to_target": [...], ...}}}

        where lists of floats have one accuracy in 0..1 for each of `layers`, and `best_layer` is the hidden state with
        the highest mean over languages and directions *on these pairs*. `unknown_tokens` is the share of tokens that
        the vocabulary lacks, and `cut_sentences` the number of sentences with more than `max_length` tokens.

        With a margin or `xsim`: "neighbours". With `bootstrap`: "intervals" of each language, the mean and each group,
        `{"source_to_target": [[lower, upper], ...], ...}` at 95%. With `xsim`: "xsim_margin", and "xsim" of each
        language and the mean, error rates in 0..1 by direction. With `mixed_pool`:

            {"mixed_pool": {"layer": int, "similarity": "cosine", "sentences": int,
                            "mean": {"accuracy": float, "own_language": float},
                            "languages": {"en": {"sentences": int, "accuracy": float, "own_language": float}, ...}}}

        where `accuracy` is the share of a language's sentences whose nearest one in the whole pool translates them,
        and `own_language` the share whose nearest one is of their own language.

    Raises:
        InputError: if there is no pair set, two have the same languages, or a vector is not finite (names the language
            and the sentence).
    """
    options = RetrievalOptions() if options is None else options
    pair_sets = [pivot_first(pair_set) for pair_set in pair_sets]
    names = [_filed_under(pair_set) for pair_set in pair_sets]
    if not names or len(set(names)) != len(names):
        raise InputError(
            f"pair sets of {', '.join(names) or 'no language'}: give one or more, no two of the same languages"
        )
    embedder = TextEmbedder(backbone, tokenizer, layers, pooling, batch_size, max_length)
    if options.mixed_pool and len(embedder.layers) > 1:
        raise InputError("mixed_pool: needs one layer, since it keeps the vectors of all languages; choose --layer K")
    languages: dict[str, dict[str, Any]] = {}
    resampled: dict[str, Array] = {}
    kept: list[Array] = []
    sources: list[str] | None = None
    source_vectors, source_facts = np.empty(0), (0.0, 0)
    for name, pair_set in zip(names, pair_sets, strict=True):
        # Parallel test sets share one English side: embed it once.
        if sources is None or pair_set.sources != sources:
            sources, source_vectors = pair_set.sources, embedder(pair_set.sources, progress)
            source_facts = token_facts(tokenizer, sources, embedder.max_length)
        elif progress is not None:
            progress(len(sources))
        target_vectors = embedder(pair_set.targets, progress)
        if options.mixed_pool:
            kept += [source_vectors[0], target_vectors[0]]
        try:
            scores, credits = _measured(source_vectors, target_vectors, options)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if options.bootstrap:
            # Parallel test sets are resampled alike, others independently.
            seed = SEED + zlib.crc32("\n".join(sources).encode("utf-8", "surrogatepass"))
            resampled[name] = bootstrap_means(credits, options.bootstrap, seed)
            scores["intervals"] = _intervals(resampled[name])
        target_facts = token_facts(tokenizer, pair_set.targets, embedder.max_length)
        languages[name] = {
            "source": pair_set.source_language,
            "target": pair_set.target_language,
            "candidates": len(sources),
            "chance": 1 / len(sources),
            "unknown_tokens": {"source": source_facts[0], "target": target_facts[0]},
            "cut_sentences": {"source": source_facts[1], "target": target_facts[1]},
            **scores,
        }
    mean = _mean_of(names, languages, resampled)
    return {
        "layer_definition": LAYER_DEFINITION,
        "pooling": pooling,
        "similarity": options.similarity,
        **({"neighbours": options.neighbours} if options.xsim or options.similarity != COSINE else {}),
        **({"xsim_margin": _xsim_margin(options)} if options.xsim else {}),
        "layers": embedder.layers,
        "best_layer": best_layer(embedder.layers, mean),
        "max_length": embedder.max_length,
        "languages": languages,
        "mean": mean,
        "chance": float(np.mean([row["chance"] for row in languages.values()])),
        "groups": {
            group: {"languages": list(members), **_mean_of(members, languages, resampled)}
            for group, members in options.groups.items()
        },
        **({"mixed_pool": _mixed_pool(pair_sets, kept, embedder.layers[0])} if options.mixed_pool else {}),
    }


def pivot_first(pair_set: "PairSet") -> "PairSet":
    """The `PairSet` with its pivot (English) as its source where only the target is the pivot."""
    is_pivot = [is_language(code, pair_set.pivot) for code in (pair_set.source_language, pair_set.target_language)]
    if is_pivot == [False, True]:
        return dataclasses.replace(
            pair_set,
            source_language=pair_set.target_language,
            target_language=pair_set.source_language,
            sources=pair_set.targets,
            targets=pair_set.sources,
        )
    return pair_set


def token_facts(tokenizer: "Tokenizer", texts: Sequence[str], max_length: int) -> tuple[float, int]:
    """What the vocabulary and the positions of an encoder lose of `texts` (list of str).

    Returns:
        (float in 0..1, int): the share of their tokens that are unknown to the vocabulary, and how many of the texts
        have more than `max_length` tokens, `<s>` and `</s>` included, so that their ends are cut.
    """
    token_ids, lengths = tokenizer.encode_ragged(list(texts))
    unknown = float(np.mean(token_ids == UNKNOWN_ID)) if len(token_ids) else 0.0
    return unknown, int(np.count_nonzero(lengths > max_length - SPECIAL_TOKENS))


def _measured(sources, targets, options):
    """(scores of a language, credits float64 [2, layers, N])."""
    settings = {"similarity": options.similarity, "neighbours": options.neighbours}
    pairs = list(zip(sources, targets, strict=True))
    credits = np.stack([retrieval_credits(*pair, **settings) for pair in pairs], axis=1)
    scores: dict[str, Any] = {
        direction: [float(np.mean(layer)) for layer in of_direction]
        for direction, of_direction in zip(DIRECTIONS, credits, strict=True)
    }
    if options.xsim:
        errors = [xsim_errors(*pair, _xsim_margin(options), options.neighbours) for pair in pairs]
        scores["xsim"] = dict(zip(DIRECTIONS, map(list, zip(*errors, strict=True)), strict=True))
    return scores, credits


def _mean_of(names, languages, resampled):
    """The means of languages by direction and layer, with their intervals and xSIM's errors where there are any."""
    rows = {name: languages[name] for name in names}
    mean: dict[str, Any] = dict(mean_over_languages(rows))
    if resampled:
        mean["intervals"] = _intervals(np.mean([resampled[name] for name in names], axis=0))
    if all("xsim" in row for row in rows.values()):
        mean["xsim"] = mean_over_languages({name: row["xsim"] for name, row in rows.items()})
    return mean


def _xsim_margin(options):
    return "ratio" if options.similarity == COSINE else options.similarity


def _intervals(means):
    return dict(zip(DIRECTIONS, interval(means).tolist(), strict=True))


def _mixed_pool(pair_sets, vectors, layer):
    """The part "mixed_pool" of the result; `vectors` are those of each source and target side."""
    sentences, places, meanings = pool_of(pair_sets)
    pool = np.empty((len(sentences), vectors[0].shape[1]), np.float32)
    pool[places] = np.concatenate(vectors)
    names = list(dict.fromkeys(language for language, _ in sentences))
    numbers = np.array([names.index(language) for language, _ in sentences])
    found, own_language = mixed_pool_credits(pool, numbers, meanings)
    languages = {
        name: {
            "sentences": int(np.count_nonzero(numbers == number)),
            "accuracy": float(found[numbers == number].mean()),
            "own_language": float(own_language[numbers == number].mean()),
        }
        for number, name in enumerate(names)
    }
    mean = {key: float(np.mean([row[key] for row in languages.values()])) for key in ("accuracy", "own_language")}
    facts = {"layer": layer, "similarity": COSINE, "sentences": len(sentences)}
    return {**facts, "mean": mean, "languages": languages}


def _filed_under(pair_set):
    """The language other than the pivot, for any code of it; both languages if neither is the pivot."""
    is_pivot = is_language(pair_set.source_language, pair_set.pivot)
    return pair_set.target_language if is_pivot else pair_set.language
