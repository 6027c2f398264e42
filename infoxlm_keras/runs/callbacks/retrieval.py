"""Cross-lingual retrieval on held-out pairs while training."""

from collections.abc import Sequence
from typing import Any

import keras_hub
import numpy as np

from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.pairs import PairSet
from infoxlm_keras.evaluation.retrieval import retrieval_accuracy
from infoxlm_keras.runs.callbacks.periodic_evaluation import PeriodicEvaluation
from infoxlm_keras.tokenizer import Tokenizer


class RetrievalEvaluation(PeriodicEvaluation):
    """Retrieval accuracy (0..1) of the encoder in training: both ways and their mean, and each language's mean.

    The pairs choose the best checkpoint, so report another set's figures as test results.

    Args:
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`.
        masked_lm: the model in training.
        tokenizer: `Tokenizer`.
        layer: int, hidden state that is measured.
        pooling: "cls" or "mean".
        batch_size: int, sentences a forward pass.
        schedule: `recorder`, `start_step`, `total_steps` and `every` of `PeriodicEvaluation`.
    """

    columns = ("retrieval_accuracy", "retrieval_source_to_target", "retrieval_target_to_source")

    def __init__(
        self,
        pair_sets: Sequence[PairSet],
        masked_lm: keras_hub.models.XLMRobertaMaskedLM,
        tokenizer: Tokenizer,
        layer: int,
        pooling: str,
        batch_size: int = 64,
        **schedule: Any,
    ) -> None:
        super().__init__(**schedule)
        self.pair_sets = pair_sets
        self.embedder = TextEmbedder(masked_lm.backbone, tokenizer, [layer], pooling, batch_size)

    def measure(self) -> dict[str, float]:
        self.model  # noqa: B018 - on JAX this puts the weights in training back into the encoder's variables
        ways: list[tuple[float, float]] = []
        languages: dict[str, float] = {}
        sources: list[str] | None = None
        source_vectors: Any = None
        for pair_set in self.pair_sets:
            # Parallel test sets share one English side: embed it once.
            if pair_set.sources != sources:
                sources, source_vectors = pair_set.sources, self.embedder(pair_set.sources)[0]
            both = retrieval_accuracy(source_vectors, self.embedder(pair_set.targets)[0])
            ways.append(both)
            languages[f"retrieval_{pair_set.language}"] = float(np.mean(both))
        source_to_target, target_to_source = np.mean(ways, axis=0).tolist()
        means = ((source_to_target + target_to_source) / 2, source_to_target, target_to_source)
        return {**dict(zip(self.columns, means, strict=True)), **languages}
