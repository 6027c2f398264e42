"""Results in the form of `evaluate_retrieval` for tests, from given accuracies."""

import numpy as np


def retrieval_result(accuracies, layers=None, candidates=300, english="en"):
    """A result with `accuracies`: {language: ([source to target, by layer], [target to source])}."""
    languages = {
        language: {
            "source": english,
            "target": language,
            "candidates": candidates,
            "source_to_target": list(forward),
            "target_to_source": list(backward),
        }
        for language, (forward, backward) in accuracies.items()
    }
    forward, backward = np.mean(list(accuracies.values()), axis=0)
    layers = list(range(len(forward))) if layers is None else layers
    return {
        "layer_definition": "index 0 = embeddings",
        "pooling": "mean",
        "similarity": "cosine",
        "layers": layers,
        "best_layer": layers[int(np.argmax(forward + backward))],
        "languages": languages,
        "mean": {"source_to_target": forward.tolist(), "target_to_source": backward.tolist()},
    }
