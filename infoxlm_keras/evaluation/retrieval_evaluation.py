"""Cross-lingual retrieval on held-out pairs: while training, and by `infoxlm evaluate-retrieval`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pydantic

from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.embedding import TextEmbedder
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.evaluation.evaluator import RetrievalOptions, evaluate_retrieval
from infoxlm_keras.evaluation.language_groups import GROUPS, language_groups
from infoxlm_keras.evaluation.margin import NEIGHBOURS
from infoxlm_keras.evaluation.pairs import ENGLISH, PairSet, read_pair_sets
from infoxlm_keras.evaluation.retrieval import COSINE, SIMILARITIES, retrieval_accuracy
from infoxlm_keras.models.encoder import check_layer
from infoxlm_keras.models.sentence_vector import model_max_length, model_pooling, trained_sentence_vector
from infoxlm_keras.progress import progress_bar
from infoxlm_keras.settings import PositiveInt, Settings
from infoxlm_keras.text.readers.formats import BITEXT_FORMATS
from infoxlm_keras.text.readers.found import describe

if TYPE_CHECKING:
    from infoxlm_keras.config import RunSettings
    from infoxlm_keras.data.batch_stream import BatchStream
    from infoxlm_keras.tokenizer import Tokenizer
    from infoxlm_keras.training.pretrainer import InfoXLMPretrainer


class RetrievalSettings(Settings):
    """`pairs` is a file or directory as for infoxlm evaluate-retrieval; None: retrieval is not measured.

    The first `max_pairs` of each language are used, on the universal layer with xlco's pooling, `batch_size` sentences
    a forward pass.
    """

    pairs: str | None = None
    max_pairs: int | None = pydantic.Field(default=1000, ge=2)
    batch_size: PositiveInt = 64


class RetrievalEvaluation(Evaluation):
    """Retrieval accuracy (0..1): both ways and their mean, and each language's mean.

    While training it measures the encoder's trained sentence vector. These pairs choose the best checkpoint, so report
    another set's figures as test results.

    Args:
        pair_sets: list of `infoxlm_keras.evaluation.PairSet`.
        batch_size: int, sentences a forward pass.
        options: the options of the command, if it is used as one.
    """

    name = "retrieval"
    Settings = RetrievalSettings
    own_section = False
    switched_on_by = "evaluation.pairs"
    prefix = "retrieval"
    console_numbers = {"retrieval_accuracy": "retrieval {:.1%}"}
    panels = {
        "Held-out retrieval": {
            "retrieval_source_to_target": "source to target",
            "retrieval_target_to_source": "target to source",
        }
    }
    description = """Measures an encoder by cross-lingual retrieval: is a sentence's nearest neighbour its translation?

For each held-out sentence, the command ranks all held-out sentences of the other language, in both directions, and
counts how often the translation comes first. It reads the formats of infoxlm build-bitext: Tatoeba's layout
(tatoeba.deu-eng.deu + tatoeba.deu-eng.eng), FLORES, NTREX, TMX, JSON lines, ... (see below), and the gold pairs of
BUCC (de-en.training.gold beside .de and .en). Where a folder has a file for each language, --pivot names the one that
is paired with all others.

Candidates are ranked by cosine, or by a margin over the --neighbours nearest ones: ratio, distance, csls (absolute is
the cosine). --xsim adds xSIM's error rates. --mixed_pool looks for a sentence's translations among the sentences of
all languages, its own included. Intervals are at 95%, by the bootstrap over pairs.

Layers are hidden-state indices: 0 is the embeddings, l is the output of Transformer layer l. The command
measures all layers unless --layer names one. It names the layer with the best mean over languages; that choice is made
on the same pairs, so its accuracy is optimistic. Equally good candidates share the credit.

    infoxlm evaluate-retrieval --model runs/demo/model --pairs pairs/ --output retrieval.json --plots plots/
"""
    epilog = BITEXT_FORMATS.replace("--input", "--pairs")
    report = "infoxlm_keras.reports.retrieval_tables:retrieval_report"
    rows = "infoxlm_keras.reports.retrieval_tables:retrieval_rows"
    figures = {"retrieval_heatmap.png": "infoxlm_keras.reports.plots.retrieval_heatmap:retrieval_heatmap"}

    def __init__(
        self, pair_sets: Sequence[PairSet], batch_size: int = 64, options: argparse.Namespace | None = None
    ) -> None:
        self.pair_sets = pair_sets
        self.batch_size = batch_size
        self.options = options
        self.retrieval_options = RetrievalOptions()

    # === While training ===

    @classmethod
    def from_config(cls, config: RunSettings) -> RetrievalEvaluation | None:
        settings = config.evaluation.of(cls)
        if settings.pairs is None:
            return None
        pair_sets = read_pair_sets([settings.pairs], settings.max_pairs)
        for line in describe(pair_sets.passed_over):
            print(f"evaluation.pairs: {line}", flush=True)
        return cls(pair_sets, settings.batch_size)

    @property
    def columns(self) -> tuple[str, ...]:
        means = ("accuracy", "source_to_target", "target_to_source")
        languages = (pair_set.language for pair_set in self.pair_sets)
        return tuple(f"{self.prefix}_{name}" for name in (*means, *languages))

    def bind(
        self, pretrainer: InfoXLMPretrainer, tokenizer: Tokenizer, validation_streams: Sequence[BatchStream]
    ) -> None:
        layer, pooling, _ = trained_sentence_vector(pretrainer)
        self.embedder = TextEmbedder(pretrainer.backbone, tokenizer, [layer], pooling, self.batch_size)

    def measure(self, pretrainer: InfoXLMPretrainer) -> dict[str, float]:
        ways: list[tuple[float, float]] = []
        sources: list[str] | None = None
        source_vectors: Any = None
        for pair_set in self.pair_sets:
            # Parallel test sets share one English side: embed it once.
            if pair_set.sources != sources:
                sources, source_vectors = pair_set.sources, self.embedder(pair_set.sources)[0]
            ways.append(retrieval_accuracy(source_vectors, self.embedder(pair_set.targets)[0]))
        source_to_target, target_to_source = np.mean(ways, axis=0).tolist()
        means = ((source_to_target + target_to_source) / 2, source_to_target, target_to_source)
        languages = (float(np.mean(both)) for both in ways)
        return dict(zip(self.columns, (*means, *languages), strict=True))

    # === As a command ===

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--pairs",
            required=True,
            nargs="+",
            metavar="PATH",
            help="folders or files of held-out pairs, or en-de=PATH",
        )
        fields = "names of the source and target fields, for formats with fields"
        parser.add_argument("--fields", nargs=2, metavar=("SOURCE", "TARGET"), help=fields)
        parser.add_argument("--layer", default="all", metavar="K|all", help="hidden state to measure, 0 = embeddings")
        parser.add_argument(
            "--pooling", choices=POOLINGS, help="pooling of the sentence vector; unset: as in training, else mean"
        )
        parser.add_argument(
            "--pivot", default=ENGLISH, metavar="CODE", help="language that all others are paired with"
        )
        parser.add_argument("--similarity", choices=SIMILARITIES, default=COSINE, help="what ranks the candidates")
        parser.add_argument(
            "--neighbours", type=int, default=NEIGHBOURS, metavar="K", help="k of a margin and of xSIM"
        )
        parser.add_argument("--xsim", action="store_true", help="xSIM's error rates too (by ratio, or --similarity)")
        parser.add_argument("--mixed_pool", action="store_true", help="search all languages too; needs --layer K")
        parser.add_argument(
            "--groups",
            nargs="+",
            metavar="NAME",
            help=f"means over languages: {', '.join(GROUPS)}, NAME=de,fr,...; unset: those that are complete",
        )
        parser.add_argument(
            "--bootstrap", type=int, default=1000, metavar="N", help="resamplings for the intervals; 0: none"
        )
        parser.add_argument("--max_pairs", type=int, metavar="N", help="use only the first N pairs of each language")
        parser.add_argument("--batch_size", type=int, default=64, help="sentences per forward pass")
        parser.add_argument(
            "--max_length",
            type=int,
            help="maximum tokens per sentence, longer ones are truncated; unset: all positions of the model",
        )

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> RetrievalEvaluation:
        if options.mixed_pool and options.layer == "all":
            raise InputError(
                "--mixed_pool: needs one layer, since it keeps the vectors of all languages; give --layer K"
            )
        pair_sets = read_pair_sets(options.pairs, options.max_pairs, options.fields, options.pivot)
        evaluation = cls(pair_sets, options.batch_size, options)
        evaluation.retrieval_options = RetrievalOptions(
            similarity=options.similarity,
            neighbours=options.neighbours,
            bootstrap=options.bootstrap,
            xsim=options.xsim,
            mixed_pool=options.mixed_pool,
            groups=language_groups(options.groups, [pair_set.language for pair_set in pair_sets]),
        )
        return evaluation

    def resolve(self, model: Any) -> dict[str, Any]:
        assert self.options is not None
        self.pooling = self.options.pooling or model_pooling(model.info)
        self.layers = requested_layers(self.options.layer, model.backbone.num_layers)
        pairs = " ".join(map(str, self.options.pairs))
        return {"pairs": pairs, "pooling": self.pooling, "layers": self.layers}

    @property
    def notes(self) -> list[str]:
        return list(describe(getattr(self.pair_sets, "passed_over", ())))

    def evaluate(self, model: Any) -> dict[str, Any]:
        assert self.options is not None
        sentences = sum(2 * len(pair_set.sources) for pair_set in self.pair_sets)
        with progress_bar("Embedding", sentences, "sentences") as advance:
            return evaluate_retrieval(
                model.backbone,
                model.tokenizer,
                self.pair_sets,
                self.layers,
                self.pooling,
                self.batch_size,
                model_max_length(model, self.options.max_length),
                progress=lambda number: advance(number, number),
                options=self.retrieval_options,
            )


def requested_layers(layer: str, num_layers: int) -> list[int]:
    """The hidden states that `--layer` asks for, list of int."""
    if layer == "all":
        return list(range(num_layers + 1))
    if not layer.isdecimal():
        raise InputError(f"--layer {layer}: must be all, or a hidden state 0..{num_layers}")
    check_layer(int(layer), num_layers, lowest=0)
    return [int(layer)]
