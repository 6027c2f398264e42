"""`infoxlm finetune-embedding`: sentence vectors, tuned on pairs or triples of texts, measured by retrieval."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.sample_retrieval import sample_retrieval
from infoxlm_keras.finetuning.embedding_task import EmbeddingTask, UpdateLoss
from infoxlm_keras.finetuning.head import FineTuningHead
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.finetuning.teachers import TrainedVectors
from infoxlm_keras.finetuning.token_rows import padded_rows
from infoxlm_keras.losses.matryoshka import check_dimensions
from infoxlm_keras.models.sentence_vector import sentence_vector
from infoxlm_keras.models.sentence_vector_model import sentence_vector_model
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, write_preset
from infoxlm_keras.pretrained.prompts import DOCUMENT, QUERY, side_prompts
from infoxlm_keras.text.embedding_samples import EmbeddingSamples, read_embedding_samples
from infoxlm_keras.text.equal_texts import folded_text
from infoxlm_keras.tokenizer import END_ID, START_ID, Tokenizer

DESCRIPTION = """Tunes sentence vectors on pairs of texts that mean the same, or on questions and their answers.

    infoxlm finetune-embedding --model runs/mine/model --train bitext/ --dev heldout/ --output_dir runs/vectors
    infoxlm finetune-embedding --model runs/mine/model --train triples.jsonl --dev dev.jsonl \\
        --query_prompt "query: " --document_prompt "passage: " --dimensions 384 192 --output_dir runs/search

Each query chooses its document among all documents of its update, so a large --batch_size makes a better model.
--accumulation_steps cuts it into micro-batches that fit the memory; the gradient stays that of one large batch.
Other texts of an update that equal the right one are no wrong answers; with --false_negative_margin, neither are those
that are about as similar to the query as it is, by --guide or by the model itself.

Files are translation pairs in any format that infoxlm build-bitext reads, or CSV, TSV, JSON lines and Parquet with the
columns query and positive, and optionally negative, negative_1 ... or negatives: texts that are similar to the query
and wrong, as infoxlm mine-negatives finds them.

With --teacher a student learns the teacher's vectors: those of the first text of a pair, for both texts. So a model
for some languages teaches others. By default the contrast has no weight then.

The score is retrieval accuracy, the mean of both directions: how often the nearest vector is that of a right text.
The update that is best on --dev (mean over languages) is kept; with --test alone the last one. One of the two is
needed.

Writes to OUTPUT_DIR: model/ (KerasHub preset, which infoxlm export-savedmodel serves, infoxlm search reads, and
infoxlm convert-checkpoint writes for sentence-transformers), results.json, accuracy.png, and runs/ with the numbers of
each run.
"""

DIRECTIONS = ("query_to_document", "document_to_query")


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings(FineTuningSettings):
    """The training settings of sentence vectors.

    Attributes:
        layer: int, the hidden state that is pooled; None: as the model was trained.
        pooling: "cls", "mean" or "max"; None: as the model was trained.
        temperature: float > 0, divides the cosines.
        both_directions: bool, documents choose among the queries too.
        dimensions: list of int, the lengths of the shorter vectors that are trained as well, beginnings of the whole
            one (Matryoshka).
        query_prompt, document_prompt: str, put before each query and each document, in training and by the trained
            model on request. None: those that the model has; "" for none.
        guide: str or None, a trained model that tells false negatives.
        false_negative_margin: float, documents whose similarity to a query is greater than that of the right one less
            this margin are no candidates. None: 0 with a guide, else every other document is a candidate.
        teacher: str or None, a model whose vectors are learned.
        teacher_vectors: str or None, a .npz file with `texts`, str [n], and `vectors`, float [n, dim]: the teacher's
            vectors of the training queries, in any order.
        teacher_weight: float >= 0, the factor of the distance from the teacher.
        contrast_weight: float >= 0, the factor of the contrast. None: 1, and 0 with a teacher.
    """

    epochs: int = 1
    batch_size: int = 64
    layer: int | None = None
    pooling: str | None = None
    temperature: float = 0.05
    both_directions: bool = True
    dimensions: list[int] = dataclasses.field(default_factory=list)
    query_prompt: str | None = None
    document_prompt: str | None = None
    guide: str | None = None
    false_negative_margin: float | None = None
    teacher: str | None = None
    teacher_vectors: str | None = None
    teacher_weight: float = 1.0
    contrast_weight: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = {
            "pooling": (self.pooling is None or self.pooling in POOLINGS, f"one of {', '.join(POOLINGS)}"),
            "temperature": (0 < self.temperature < float("inf"), "positive"),
            "teacher_weight": (0 <= self.teacher_weight < float("inf"), "at least 0"),
            "contrast_weight": (
                self.contrast_weight is None or 0 <= self.contrast_weight < float("inf"),
                "at least 0",
            ),
            "false_negative_margin": (
                self.false_negative_margin is None or -2 <= self.false_negative_margin <= 2,
                "in -2..2, a difference of cosines",
            ),
        }
        for name, (holds, limit) in limits.items():
            if not holds:
                raise InputError(f"{name} = {getattr(self, name)}: must be {limit}")
        if self.teacher is not None and self.teacher_vectors is not None:
            raise InputError("teacher and teacher_vectors: give one of them")
        loss = self.update_loss
        if not loss.contrast_weight and not loss.teacher_weight:
            raise InputError("contrast_weight = 0 and no teacher, or teacher_weight = 0: there is nothing to learn")
        if not loss.contrast_weight and (self.guide is not None or self.false_negative_margin is not None):
            raise InputError(
                "guide and false_negative_margin: belong to the contrast, which has no weight beside a teacher; give "
                "contrast_weight too, or leave them out"
            )
        if not self.taught and self.teacher_weight != EmbeddingSettings.teacher_weight:
            raise InputError(f"teacher_weight = {self.teacher_weight}: needs teacher or teacher_vectors")

    @property
    def taught(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher is not None or self.teacher_vectors is not None

    @property
    def update_loss(self) -> UpdateLoss:
        """The loss that these settings describe."""
        margin = self.false_negative_margin
        weight = self.contrast_weight
        return UpdateLoss(
            temperature=self.temperature,
            both_directions=self.both_directions,
            dimensions=tuple(self.dimensions),
            margin=0.0 if margin is None and self.guide is not None else margin,
            contrast_weight=(0.0 if self.taught else 1.0) if weight is None else weight,
            teacher_weight=self.teacher_weight if self.taught else 0.0,
        )


class EmbeddingHead(FineTuningHead):
    """Sentence vectors, whose nearest neighbours are translations, paraphrases or answers."""

    name = "embedding"
    samples = "pairs or triples of texts"
    Settings = EmbeddingSettings
    description = DESCRIPTION

    def __init__(
        self,
        training: Sequence[EmbeddingSamples],
        development: Sequence[EmbeddingSamples] = (),
        test: Sequence[EmbeddingSamples] = (),
    ) -> None:
        super().__init__(training, development, test)
        self._vectors = TrainedVectors(training)
        self.prompts: dict[str, str] = {}

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        defaults = EmbeddingSettings()
        parser.add_argument("--layer", type=int, metavar="K", help="hidden state that is pooled; unset: as trained")
        parser.add_argument("--pooling", choices=POOLINGS, help="how tokens become one vector; unset: as trained")
        parser.add_argument(
            "--temperature", type=float, default=defaults.temperature, help="divides the cosines; lower is sharper"
        )
        parser.add_argument(
            "--both_directions",
            action=argparse.BooleanOptionalAction,
            default=defaults.both_directions,
            help="documents choose among the queries too",
        )
        parser.add_argument(
            "--dimensions",
            type=int,
            nargs="+",
            default=[],
            metavar="D",
            help="train the first D numbers of the vector as vectors too (Matryoshka)",
        )
        parser.add_argument(
            "--query_prompt",
            metavar="TEXT",
            help='put before queries, such as "query: "; unset: the prompt that the model has, if any',
        )
        parser.add_argument("--document_prompt", metavar="TEXT", help="put before documents; unset: as well")
        parser.add_argument("--guide", metavar="MODEL", help="trained model that tells false negatives")
        parser.add_argument(
            "--false_negative_margin",
            type=float,
            metavar="M",
            help="a document is no wrong answer if its similarity is greater than that of the right one less M; "
            "unset: 0 with --guide, else all are",
        )
        parser.add_argument("--teacher", metavar="MODEL", help="model whose vectors are learned")
        parser.add_argument(
            "--teacher_vectors",
            metavar="FILE",
            help="the teacher's vectors of the training queries: a .npz file with the arrays texts and vectors",
        )
        parser.add_argument(
            "--teacher_weight",
            type=float,
            default=defaults.teacher_weight,
            metavar="W",
            help="factor of the distance from the teacher",
        )
        parser.add_argument(
            "--contrast_weight", type=float, metavar="W", help="factor of the contrast; unset: 1, with a teacher 0"
        )

    @classmethod
    def read(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None, max_samples: int | None = None
    ) -> list[EmbeddingSamples]:
        return read_embedding_samples(paths, languages, max_samples)

    @classmethod
    def read_measured(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None
    ) -> list[EmbeddingSamples]:
        return read_embedding_samples(paths, languages, with_negatives=False)

    def facts(self) -> dict[str, Any]:
        return {"negatives": self._vectors.negatives}

    def notes(self) -> list[str]:
        return [note for part in (*self.training, *self.development, *self.test) for note in part.notes]

    def fitting_notes(self) -> list[str]:
        if not self._cut:
            return []
        total = len(self._vectors.queries) + len(self._vectors.documents)
        return [
            f"note: {self._cut:,} of {total:,} training texts are longer than max_length = {self.max_length} tokens, "
            "and are cut"
        ]

    def resolve(self, model: PretrainedModel, settings: EmbeddingSettings) -> None:
        vector = sentence_vector(model, settings.layer, settings.pooling)
        self.layer, self.pooling = vector.layer, vector.pooling
        own = side_prompts(model.info)
        given = {QUERY: settings.query_prompt, DOCUMENT: settings.document_prompt}
        self.prompts = {side: own.get(side, "") if text is None else text for side, text in given.items()}

    def resolved(self, settings: EmbeddingSettings) -> dict[str, Any]:
        if not self.prompts:
            return {}
        prompts = {f"{side}_prompt": text for side, text in self.prompts.items()}
        taken = {"layer": self.layer, "pooling": self.pooling, **prompts}
        return {name: value for name, value in taken.items() if getattr(settings, name) is None}

    def build(self, model: PretrainedModel, settings: EmbeddingSettings) -> None:
        check_dimensions(settings.dimensions, model.backbone.hidden_dim)
        self.settings = settings
        self._info = model.info
        self._has_head = model.has_head
        super().build(model, settings)
        for side, prompt in self.prompts.items():
            tokens = len(self.tokenizer.encode([prompt])[0])
            if tokens >= self.max_length - 2:
                raise InputError(
                    f"{side}_prompt: has {tokens} tokens, and max_length = {self.max_length} leaves no room for a text"
                )

    def make_model(self, settings: EmbeddingSettings) -> keras.Model:
        return sentence_vector_model(self.backbone, self.layer, self.pooling)

    def task(self) -> EmbeddingTask:
        return EmbeddingTask(self.settings.update_loss, self.layer, self.pooling)

    def training_arrays(self) -> dict[str, Array]:
        settings = self.settings
        queries, documents = self._vectors.queries, self._vectors.documents
        query, cut_queries = self._encoded(queries, self.prompts[QUERY])
        document, cut_documents = self._encoded(documents, self.prompts[DOCUMENT])
        self._cut = cut_queries + cut_documents
        shape = (len(queries), 1 + self._vectors.negatives)
        return {
            **{f"query_{name}": values for name, values in query.items()},
            **{f"document_{name}": values.reshape(*shape, -1) for name, values in document.items()},
            **self._vectors.text_numbers(),
            "weights": np.ones(len(queries), np.float32),
            **self._vectors.checked(settings, self.backbone.hidden_dim),
        }

    def sources(self, settings: EmbeddingSettings) -> dict[str, Any]:
        return self._vectors.sources(settings)

    def inputs(self, texts: Sequence[str], prompt: str = "") -> dict[str, Array]:
        """`token_ids` and `padding_mask`, int32 [texts, length], of `<s> prompt text </s>`, cut to `max_length`."""
        return self._encoded(texts, prompt)[0]

    def _encoded(self, texts, prompt):
        return encode_texts(self.tokenizer, [prompt + text for text in texts], self.max_length)

    def measure(
        self, parts: Sequence[EmbeddingSamples], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {}

        def add(name: str, language: str, value: float) -> None:
            scores.setdefault(name, {})[language] = float(value)

        for part in parts:
            queries = self.predict(self.inputs(part.queries, self.prompts[QUERY]), batch_size, progress)
            documents = self.predict(self.inputs(part.positives, self.prompts[DOCUMENT]), batch_size)
            texts = [[folded_text(text) for text in side] for side in (part.queries, part.positives)]
            both = sample_retrieval(queries, documents, *texts)
            add(self.metric, part.language, sum(both) / 2)
            for name, value in zip(DIRECTIONS, both, strict=True):
                add(name, part.language, value)
            for width in self.settings.dimensions:
                shorter = sample_retrieval(queries[:, :width], documents[:, :width], *texts)
                add(f"{self.metric}_{width}", part.language, sum(shorter) / 2)
        return scores

    def save(self, directory: PathLike) -> None:
        before = self._info
        prompts = {**(before.prompts if before else {}), **self.prompts}
        info = PretrainingInfo(
            universal_layer=self.layer,
            pooling=self.pooling,
            normalize=True,
            steps=before.steps if before else 0,
            tasks=[*(before.tasks if before else []), self.name],
            tokenizer_fingerprint=self.tokenizer.fingerprint,
            data=before.data if before else {},
            settings={**(before.settings if before else {}), self.name: dataclasses.asdict(self.settings)},
            # Longer texts than those of training stay possible, as they were.
            max_length=before.max_length if before else None,
            prompts={name: text for name, text in prompts.items() if text},
        )
        write_preset(directory, PretrainedModel(self.masked_lm, self.tokenizer, info, has_head=self._has_head))


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> tuple[dict[str, Array], int]:
    """`<s> text </s>` of each text.

    Args:
        tokenizer: `Tokenizer`.
        texts: list of str.
        max_length: int, tokens with the special ones.

    Returns:
        (dict of `token_ids` and `padding_mask`, int32 [texts, length]: the longest text's, rounded up to 8; the number
        of texts that were cut).
    """
    room = max_length - 2
    encoded = tokenizer.encode(texts)
    rows = [[START_ID, *ids[:room], END_ID] for ids in encoded]
    return padded_rows(rows, max_length), sum(len(ids) > room for ids in encoded)
