"""Word alignment against gold links, by `infoxlm evaluate-alignment`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.alignment.aligner import ENCODINGS, SIMILARITIES, WordAligner
from infoxlm_keras.evaluation.alignment.gold import (
    SENTENCE_NUMBERINGS,
    WORD_NUMBERINGS,
    AlignmentSet,
    read_alignment_set,
    read_alignment_sets,
)
from infoxlm_keras.evaluation.alignment.methods import METHODS
from infoxlm_keras.evaluation.alignment.scores import AlignmentCounts
from infoxlm_keras.evaluation.evaluation import Evaluation
from infoxlm_keras.evaluation.evaluator import LAYER_DEFINITION
from infoxlm_keras.evaluation.retrieval_evaluation import requested_layers
from infoxlm_keras.models.sentence_vector import model_max_length
from infoxlm_keras.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Callable

SCORES = ("aer", "precision", "recall")
DEFAULT_METHODS = ("argmax", "itermax", "optimal_transport")


class AlignmentEvaluation(Evaluation):
    """Alignment error rate, precision and recall of links between words, at every layer.

    Args:
        alignment_sets: list of `AlignmentSet`.
        options: the options of the command.
    """

    name = "alignment"
    prefix = "alignment"
    description = """Measures an encoder by word alignment: are the most similar words of a sentence pair translations?

Each word is segmented by itself; two words are linked if a piece of each is. Pieces are linked by one of

    argmax                     each is the other's most similar piece (mutual argmax)
    itermax                    the same, then once more among the pieces without a partner (SimAlign)
    optimal_transport          mutual argmax after two iterations of Sinkhorn (XLM-Align's evaluation)
    optimal_transport_itermax  itermax on the transport plan (XLM-Align's labels in training)

and compared with gold links: precision, recall and alignment error rate (AER, lower is better), pooled over sentences.
--data takes a folder named <src>-<tgt>, or a folder of such folders, with one file that ends in .<src>, one in .<tgt>
(a sentence a line, words separated by white space) and one with gold links, a line each: `sentence source target
[S|P]`, sure or possible; a link without mark is sure. --source, --target and --gold name such files one by one.

Layers are hidden-state indices: 0 is the embeddings, l is the output of Transformer layer l. The best layer is chosen
on the same sentences, so its error rate is optimistic.

    infoxlm evaluate-alignment --model runs/demo/model --data alignments/ --output alignment.json --plots plots/
"""
    report = "infoxlm_keras.reports.alignment_tables:alignment_report"
    rows = "infoxlm_keras.reports.alignment_tables:alignment_rows"
    figures = {"alignment_by_layer.png": "infoxlm_keras.reports.plots.alignment_by_layer:alignment_by_layer"}

    def __init__(self, alignment_sets: Sequence[AlignmentSet], options: argparse.Namespace) -> None:
        self.alignment_sets = alignment_sets
        self.options = options

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", nargs="+", metavar="DIR", help="folders with word alignments, see above")
        parser.add_argument("--source", metavar="FILE", help="source sentences, in place of --data")
        parser.add_argument("--target", metavar="FILE", help="target sentences, in place of --data")
        parser.add_argument("--gold", metavar="FILE", help="gold links, in place of --data")
        parser.add_argument("--layer", default="all", metavar="K|all", help="hidden state to measure, 0 = embeddings")
        parser.add_argument(
            "--methods", nargs="+", choices=METHODS, default=list(DEFAULT_METHODS), help="how pieces are linked"
        )
        parser.add_argument(
            "--encoding",
            choices=ENCODINGS,
            default="joint",
            help="both sentences in one sequence, as in TLM and XLM-Align, or each by itself, as in SimAlign",
        )
        parser.add_argument(
            "--similarity", choices=SIMILARITIES, default="dot", help="of hidden states; SimAlign uses cosine"
        )
        parser.add_argument(
            "--first_word",
            choices=WORD_NUMBERINGS,
            default="auto",
            help="number of a sentence's first word in the gold links; auto: 0 if one occurs",
        )
        parser.add_argument(
            "--sentences",
            choices=SENTENCE_NUMBERINGS,
            default="auto",
            help="number of the first sentence in the gold links, or order: the n-th number is that of line n; auto: "
            "order if there are as many numbers as lines, else 0 if one occurs, else 1",
        )
        parser.add_argument("--batch_size", type=int, default=16, help="sequences per forward pass")
        parser.add_argument(
            "--max_length", type=int, help="maximum tokens per sequence, longer ones are cut; unset: all positions"
        )

    @classmethod
    def from_options(cls, options: argparse.Namespace) -> AlignmentEvaluation:
        files = (options.source, options.target, options.gold)
        numbering = (options.first_word, options.sentences)
        if options.data is not None and not any(files):
            return cls(read_alignment_sets(options.data, *numbering), options)
        if options.data is None and all(files):
            return cls([read_alignment_set(*files, None, *numbering)], options)
        raise InputError("give either --data DIR, or all of --source, --target and --gold")

    def resolve(self, model: Any) -> dict[str, Any]:
        self.layers = requested_layers(self.options.layer, model.backbone.num_layers)
        return {"layers": self.layers, "max_length": model_max_length(model, self.options.max_length)}

    @property
    def notes(self) -> list[str]:
        return [note for alignment_set in self.alignment_sets for note in alignment_set.notes]

    def evaluate(self, model: Any) -> dict[str, Any]:
        aligner = WordAligner(
            model.backbone,
            model.tokenizer,
            self.layers,
            self.options.encoding,
            self.options.similarity,
            self.options.batch_size,
            model_max_length(model, self.options.max_length),
        )
        sentences = sum(len(alignment_set.sources) for alignment_set in self.alignment_sets)
        with progress_bar("Aligning", sentences, "sentence pairs") as advance:
            return evaluate_alignment(
                aligner, self.alignment_sets, self.options.methods, lambda number: advance(number, number)
            )


def evaluate_alignment(
    aligner: WordAligner,
    alignment_sets: Sequence[AlignmentSet],
    methods: Sequence[str] = DEFAULT_METHODS,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measures every test set, method and layer.

    Args:
        aligner: `WordAligner`.
        alignment_sets: list of `AlignmentSet`, not empty.
        methods: names of `METHODS`.
        progress: optional function that is called with the number of pairs just aligned.

    Returns:
        dict, ready for JSON:

            {"layer_definition": str, "encoding": "joint", "similarity": "dot", "layers": [0, 1, ...],
             "languages": {"en-fr": {"sentences": N, "left_out": int, "cut": int, "words_without_pieces": int,
                                     "sure": int, "possible": int, "methods": {"argmax": SCORES, ...}}, ...},
             "mean": {"argmax": SCORES, ...}}

        where `possible` counts the sure links too. SCORES is `{"aer": [float, ...], "precision": [...], "recall":
        [...], "best_layer": int}`, one value in 0..1 for each of `layers`. `mean` is the plain mean over test sets.
        `best_layer` is the hidden state with the lowest error rate *on these sentences*.
    """
    methods = list(dict.fromkeys(methods))
    languages: dict[str, dict[str, Any]] = {}
    for alignment_set in alignment_sets:
        counts = {method: [AlignmentCounts() for _ in aligner.layers] for method in methods}
        before = aligner.cut, aligner.empty
        pairs = list(zip(alignment_set.sources, alignment_set.targets, strict=True))
        for number, links in aligner(pairs, methods, progress):
            gold = alignment_set.sure[number], alignment_set.possible[number]
            for method, of_layers in links.items():
                for count, of_layer in zip(counts[method], of_layers, strict=True):
                    count.add(of_layer, *gold)
        languages[alignment_set.name] = {
            "sentences": len(pairs),
            "left_out": alignment_set.left_out,
            "cut": aligner.cut - before[0],
            "words_without_pieces": aligner.empty - before[1],
            "sure": sum(map(len, alignment_set.sure)),
            "possible": sum(map(len, alignment_set.possible)),
            "methods": {
                method: with_best_layer(
                    aligner.layers,
                    {score: [getattr(count, score) for count in of_layers] for score in SCORES},
                )
                for method, of_layers in counts.items()
            },
        }
    mean = {
        method: with_best_layer(
            aligner.layers,
            {
                score: np.mean([row["methods"][method][score] for row in languages.values()], axis=0).tolist()
                for score in SCORES
            },
        )
        for method in methods
    }
    return {
        "layer_definition": LAYER_DEFINITION,
        "encoding": aligner.encoding,
        "similarity": aligner.similarity,
        "layers": aligner.layers,
        "languages": languages,
        "mean": mean,
    }


def with_best_layer(layers: Sequence[int], scores: dict[str, list[float]]) -> dict[str, Any]:
    """`scores` of `layers` with `best_layer`: the hidden state with the lowest error rate, the lowest of equals."""
    return {**scores, "best_layer": layers[int(np.argmin(scores["aer"]))]}
