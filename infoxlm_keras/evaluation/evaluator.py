"""Retrieval evaluation of an encoder: pairs -> vectors of every layer -> accuracy both ways, per language."""

from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.retrieval import best_layer, layer_accuracies, mean_over_languages

LAYER_DEFINITION = (
    "hidden-state index: 0 is the embeddings' output, l is the output of Transformer layer l of 1..L. "
    "XTREME's script leaves the embeddings out, so its layer 7 is index 8 here."
)


def evaluate_retrieval(
    backbone, tokenizer, pair_sets, layers=None, pooling="mean", batch_size=64, max_length=None, progress=None
):
    """Measures every language at every layer.

    Args:
        backbone, tokenizer, layers, pooling, batch_size, max_length: as `TextEmbedder`.
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`.
        progress: optional function that is called with the number of texts just embedded.

    Returns:
        dict, ready for JSON, the same for the same weights and pairs:

            {"layer_definition": str, "pooling": "mean", "similarity": "cosine", "layers": [0, 1, ...],
             "best_layer": int,
             "languages": {"de": {"source": "en", "target": "de", "candidates": N,
                                  "source_to_target": [float, ...], "target_to_source": [float, ...]}, ...},
             "mean": {"source_to_target": [float, ...], "target_to_source": [float, ...]}}

        where lists of floats have one accuracy in 0..1 for each of `layers`, and `best_layer` is the hidden state with
        the highest mean over languages and directions *on these pairs*.
    """
    embedder = TextEmbedder(backbone, tokenizer, layers, pooling, batch_size, max_length)
    languages, sources, source_vectors = {}, None, None
    for pair_set in pair_sets:
        # Parallel test sets share one English side: embed it once.
        if pair_set.sources != sources:
            sources, source_vectors = pair_set.sources, embedder(pair_set.sources, progress)
        elif progress is not None:
            progress(len(sources))
        languages[pair_set.language] = {
            "source": pair_set.source_language,
            "target": pair_set.target_language,
            "candidates": len(pair_set.sources),
            **layer_accuracies(source_vectors, embedder(pair_set.targets, progress)),
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
