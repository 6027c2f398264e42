"""Measures an encoder without fine-tuning: how often a sentence's nearest neighbour is its translation.

In reading order:

    pairs.py       files -> held-out pairs
    embedding.py   texts -> vectors of every hidden state
    retrieval.py   vectors -> accuracy both ways (NumPy)
    evaluator.py   pairs -> accuracy of every language and layer
"""

from infoxlm_keras.evaluation.embedding import TextEmbedder, embed_texts
from infoxlm_keras.evaluation.evaluator import evaluate_retrieval
from infoxlm_keras.evaluation.pairs import PairSet, parallel_sentences, read_pair_sets
from infoxlm_keras.evaluation.retrieval import retrieval_accuracy

__all__ = [
    "PairSet",
    "TextEmbedder",
    "embed_texts",
    "evaluate_retrieval",
    "parallel_sentences",
    "read_pair_sets",
    "retrieval_accuracy",
]
