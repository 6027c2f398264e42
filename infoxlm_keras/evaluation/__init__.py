"""Measures an encoder on held-out data. Each evaluation is one file with an `Evaluation`, and one row.

In reading order:

    evaluation.py             what an evaluation is: its use while training, its command
    registry.py               the evaluations by name
    pairs.py, bucc.py         files -> held-out pairs
    embedding.py              texts -> vectors of every hidden state
    margin.py                 cosines and their neighbourhoods -> scores (NumPy)
    retrieval.py              vectors -> accuracy both ways (NumPy)
    bootstrap.py              credits of pairs -> intervals (NumPy)
    mixed_pool.py             vectors of all languages -> accuracy in one pool (NumPy)
    evaluator.py              pairs -> accuracy of every language and layer
    alignment/                sentence pairs of words -> links between words -> error rate
    alignment_evaluation.py   how well the links between words agree with gold links
    retrieval_evaluation.py   how often a sentence's nearest neighbour is its translation
    answer_spans.py, answer_scores.py   logits -> answers -> exact match and F1 (NumPy)
    tag_scores.py             tags -> F1 of spans
    validation_loss.py        the pretext tasks' losses on held-out records
"""

from typing import TYPE_CHECKING

from infoxlm_keras.lazy import lazy_exports

if TYPE_CHECKING:
    # The same names, for editors and type checkers.
    from infoxlm_keras.evaluation.embedding import TextEmbedder as TextEmbedder, embed_texts as embed_texts
    from infoxlm_keras.evaluation.evaluation import Evaluation as Evaluation
    from infoxlm_keras.evaluation.evaluator import evaluate_retrieval as evaluate_retrieval
    from infoxlm_keras.evaluation.pairs import (
        PairSet as PairSet,
        parallel_sentences as parallel_sentences,
        read_pair_sets as read_pair_sets,
    )
    from infoxlm_keras.evaluation.retrieval import retrieval_accuracy as retrieval_accuracy

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "embedding": ("TextEmbedder", "embed_texts"),
        "evaluation": ("Evaluation",),
        "evaluator": ("evaluate_retrieval",),
        "pairs": ("PairSet", "parallel_sentences", "read_pair_sets"),
        "retrieval": ("retrieval_accuracy",),
    },
)
