"""`infoxlm finetune-qa`: extractive question answering, trained in some languages and measured in all."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array, PathLike, Tensor
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.answer_scores import answer_scores
from infoxlm_keras.evaluation.answer_spans import best_spans
from infoxlm_keras.files import write_json
from infoxlm_keras.finetuning.head import FineTuningHead
from infoxlm_keras.finetuning.loop import FineTuningSettings
from infoxlm_keras.finetuning.task_preset import write_task_preset
from infoxlm_keras.models import QuestionAnswering, with_dropout
from infoxlm_keras.text.question_windows import QuestionWindows, answer_targets, question_windows
from infoxlm_keras.text.questions import Questions, read_questions
from infoxlm_keras.tokenizer import PAD_ID

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel

DESCRIPTION = """Fine-tunes a model that finds the answer of a question in a text, and measures it in every language.

    infoxlm finetune-qa --model runs/mine/model --train train-v1.1.json --dev xquad.en.json \\
        --test xquad.*.json --output_dir runs/xquad

Files have SQuAD's form (JSON): SQuAD 1.1, XQuAD, MLQA and TyDiQA-GoldP as they are distributed. The language is read
from the file's name (docs/finetuning.md). All files are read and checked before training begins. Answers of MLQA's
files are compared by MLQA's rules, all others by SQuAD's.

Writes to OUTPUT_DIR: model/ (KerasHub preset: infoxlm export-savedmodel --head qa serves it), results.json, f1.png,
and with --predictions the answers of each language, in the form that the official programs take.
"""
DEFAULT_MAX_LENGTH = 384
FEW = 3  # ids that a note names
IMPOSSIBLE = -1e9  # logit of padding


@dataclasses.dataclass(frozen=True)
class QuestionAnsweringSettings(FineTuningSettings):
    """The training settings of question answering; XTREME's for SQuAD are the defaults.

    Attributes:
        max_length: int or None, tokens of a window, question included. None: 384, or the model's number of positions
            if that is smaller.
        stride: int >= 1, tokens from one window of a text to the next.
        max_question: int >= 1, tokens that a question is cut to.
        max_answer: int >= 1, tokens of the longest answer.
        n_best: int >= 1, answers of each question that `predictions` writes with their scores.
        predictions: bool, whether the answers are written.
    """

    learning_rate: float = 3e-5
    weight_decay: float = 1e-4
    stride: int = 128
    max_question: int = 64
    max_answer: int = 30
    n_best: int = 5
    predictions: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("stride", "max_question", "max_answer", "n_best"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: must be at least 1")


class QuestionAnsweringHead(FineTuningHead):
    """Start and end of the answer of a question in a text."""

    name = "qa"
    samples = "questions in SQuAD's form"
    Settings = QuestionAnsweringSettings
    description = DESCRIPTION
    metric = "f1"

    def __init__(
        self,
        training: Sequence[Questions],
        development: Sequence[Questions] = (),
        test: Sequence[Questions] = (),
    ) -> None:
        super().__init__(training, development, test)
        self.predictions: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self._windows: dict[int, QuestionWindows] = {}
        self._passed_over: dict[str, dict[str, list[str]]] = {}
        for part in self.training:
            if not any(start is not None for question in part.questions for start in question.starts):
                raise InputError(
                    f"{', '.join(part.files)}: no answer is at its offset (answer_start), so there is nothing to "
                    "learn from; offsets count Unicode characters from 0"
                )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        defaults = cls.Settings()
        options = {
            "stride": "tokens from one window of a long text to the next",
            "max_question": "tokens that a question is cut to",
            "max_answer": "tokens of the longest answer",
            "n_best": "answers of each question that --predictions writes with their scores",
        }
        for name, text in options.items():
            parser.add_argument(f"--{name}", type=int, metavar="N", default=getattr(defaults, name), help=text)
        parser.add_argument(
            "--predictions", action="store_true", help="write predictions/LANGUAGE.json, the answer of each question"
        )

    @classmethod
    def read(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None, max_samples: int | None = None
    ) -> list[Questions]:
        return read_questions(paths, languages, max_samples)

    def facts(self) -> dict[str, Any]:
        return {"rules": sorted({part.rules for part in (*self.development, *self.test)})}

    def notes(self) -> list[str]:
        """Lines on answers that are not at their offset, and after `build` on questions that do not fit."""
        data = {"training": self.training, "development": self.development, "test": self.test}
        found = []
        for name, parts in data.items():
            for part in parts:
                for file, ids in part.misplaced.items():
                    use = "passed over if no other is" if name == "training" else "compared all the same"
                    found.append(f"note: {name}: {_named(file, ids)} with an answer that is not at its offset; {use}")
        for name, reasons in self._passed_over.items():
            found += [f"note: {name}: {_named('', ids)} {reason}" for reason, ids in reasons.items()]
        return found

    def build(self, model: "PretrainedModel", settings: QuestionAnsweringSettings) -> None:
        """Makes `model`, a `QuestionAnswering`, and the windows of all questions."""
        keras.utils.set_random_seed(settings.seed)
        backbone = with_dropout(model.masked_lm, settings.dropout).backbone
        positions = backbone.max_sequence_length
        self.max_length = min(DEFAULT_MAX_LENGTH, positions) if settings.max_length is None else settings.max_length
        if self.max_length > positions:
            raise InputError(f"max_length = {self.max_length}: the model has {positions} positions")
        self.settings, self.tokenizer = settings, model.tokenizer
        self.model = QuestionAnswering(backbone)
        self._windows, self._passed_over = {}, {}
        for name, parts in (("training", self.training), ("development", self.development), ("test", self.test)):
            for part in parts:
                cut = [part.questions[number].id for number in self.windows(part).cut]
                if cut:
                    reasons = self._passed_over.setdefault(f"{name} in {part.language}", {})
                    reasons[f"cut to max_question = {settings.max_question} tokens"] = cut
        self._targets = [self._learned(part) for part in self.training]

    def windows(self, part: Questions) -> QuestionWindows:
        """The windows of the questions of `part`; made once."""
        if id(part) not in self._windows:
            self._windows[id(part)] = question_windows(
                self.tokenizer, part.questions, self.max_length, self.settings.stride, self.settings.max_question
            )
        return self._windows[id(part)]

    def training_arrays(self) -> dict[str, Array]:
        """All windows of the training questions; of those that are passed over, none.

        Returns:
            dict of `token_ids`, `padding_mask` (int32 [windows, length]), `targets` (int32 [windows, 2], first and
            last token of the answer; 0 where the window does not hold it) and `weights` (float32 [windows], ones).
        """
        kept = [targets[:, 0] >= 0 for targets in self._targets]
        windows = [self.windows(part) for part in self.training]
        targets = np.concatenate([targets[keep] for targets, keep in zip(self._targets, kept, strict=True)])
        if not len(targets):
            files = ", ".join(file for part in self.training for file in part.files)
            raise InputError(f"{files}: no window holds a whole answer; give a larger --max_length")
        return {
            "token_ids": _stacked([part.token_ids[keep] for part, keep in zip(windows, kept, strict=True)], PAD_ID),
            "padding_mask": _stacked([part.padding_mask[keep] for part, keep in zip(windows, kept, strict=True)], 0),
            "targets": targets,
            "weights": np.ones(len(targets), np.float32),
        }

    def losses(self, outputs: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of start and end over the tokens of each window, and whether both are right."""
        mask = ops.expand_dims(ops.cast(batch["padding_mask"], "float32"), -1)
        logits = ops.cast(outputs, "float32") * mask + (1 - mask) * IMPOSSIBLE
        logits = ops.transpose(logits, (0, 2, 1))  # [batch, 2, length]
        losses = keras.losses.sparse_categorical_crossentropy(batch["targets"], logits, from_logits=True)
        right = ops.equal(ops.argmax(logits, axis=-1), ops.cast(batch["targets"], "int32"))
        return ops.mean(losses, axis=-1), ops.cast(ops.all(right, axis=-1), "float32")

    def measure(
        self, parts: Sequence[Questions], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {"f1": {}, "exact_match": {}}
        self.predictions = {}
        for part in parts:
            windows = self.windows(part)
            inputs = {"token_ids": windows.token_ids, "padding_mask": windows.padding_mask}
            logits = np.asarray(self.predict(inputs, batch_size), np.float32)
            if not np.isfinite(logits).all():
                row = int(np.flatnonzero(~np.isfinite(logits).all(axis=(1, 2)))[0])
                raise InputError(
                    f"{part.language}: the model's outputs for question {part.questions[windows.rows[row]].id} are "
                    "not finite; its weights or precision are broken"
                )
            answers = self.answers(part, logits)
            self.predictions[part.language] = answers
            for name, value in self.scores(part, answers).items():
                scores[name][part.language] = value
            progress(len(part))
        return scores

    def answers(self, part: Questions, logits: Array) -> dict[str, list[dict[str, Any]]]:
        """{id: list of {"text", "score"}}, the best answers of each question, the best first; the same text once.

        Args:
            part: `Questions`.
            logits: float32 [windows, length, 2] of `windows(part)`.
        """
        windows, settings = self.windows(part), self.settings
        spans = best_spans(logits, windows.rows, windows.places, windows.counts, settings.max_answer, settings.n_best)
        found = {}
        for question, best in zip(part.questions, spans, strict=True):
            texts: dict[str, float] = {}
            for span in best:
                texts.setdefault(windows.text(span.window, span.first, span.last), span.score)
            texts = texts or {"": 0.0}
            found[question.id] = [{"text": text, "score": score} for text, score in texts.items()]
        return found

    def scores(self, part: Questions, answers: Mapping[str, list[dict[str, Any]]]) -> dict[str, float]:
        """{"f1", "exact_match"}: the means over the questions of `part`, float in 0..1."""
        every = [
            answer_scores(answers[question.id][0]["text"], question.answers, part.rules, part.answer_language)
            for question in part.questions
        ]
        return {name: float(np.mean([scores[name] for scores in every])) for name in ("f1", "exact_match")}

    def chance(self) -> float:
        """F1 of the answers that the place in the text alone makes most likely, mean over the measured languages.

        A start logit is the logarithm of how many training answers begin at this token of the text (plus 1), an end
        logit of how many end there: the guess knows neither question nor text.
        """
        counts = np.ones((self.max_length, 2))
        for part, targets in zip(self.training, self._targets, strict=True):
            windows = self.windows(part)
            whole = (targets[:, 0] > 0) & (windows.firsts == 0)
            for side in range(2):
                np.add.at(counts[:, side], (targets[whole, side] - windows.places[whole]), 1)
        found = []
        for part in self.test or self.development:
            windows = self.windows(part)
            logits = np.full((*windows.token_ids.shape, 2), IMPOSSIBLE, np.float32)
            for row, (first, place, count) in enumerate(
                zip(windows.firsts, windows.places, windows.counts, strict=True)
            ):
                if first == 0:
                    logits[row, place : place + count] = np.log(counts[:count])
            found.append(self.scores(part, self.answers(part, logits))["f1"])
        return float(np.mean(found))

    def save(self, directory: PathLike) -> None:
        write_task_preset(directory, self.model, self.tokenizer)

    def write_predictions(self, output: PathLike) -> list[pathlib.Path]:
        """Writes the answers of the last `measure` into OUTPUT/predictions, if the settings ask for them.

        `LANGUAGE.json` holds {id: answer}, as SQuAD's and MLQA's programs take it; `LANGUAGE.nbest.json` holds {id:
        list of {"text", "score"}}.

        Returns:
            list of paths that were written.
        """
        if not self.settings.predictions:
            return []
        directory = pathlib.Path(output) / "predictions"
        directory.mkdir(parents=True, exist_ok=True)
        written = []
        for language, answers in self.predictions.items():
            best = {name: found[0]["text"] for name, found in answers.items()}
            for name, content in ((f"{language}.json", best), (f"{language}.nbest.json", answers)):
                write_json(directory / name, content)
                written.append(directory / name)
        return written

    def _learned(self, part):
        """The targets of a training part; notes the questions that are passed over."""
        targets, passed_over = answer_targets(part.questions, self.windows(part))
        reasons = self._passed_over.setdefault(f"training in {part.language}", {})
        for number, reason in passed_over.items():
            reasons.setdefault(f"with {reason}, passed over", []).append(part.questions[number].id)
        return targets


def _stacked(arrays, padding):
    """Rows of different lengths as one array."""
    length = max(array.shape[1] for array in arrays)
    widened = [np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=padding) for array in arrays]
    return np.concatenate(widened)


def _named(file, ids):
    more = f" and {len(ids) - FEW:,} more" if len(ids) > FEW else ""
    plural = "s" if len(ids) > 1 else ""
    place = f"{file}: " if file else ""
    return f"{place}{len(ids):,} question{plural} ({', '.join(ids[:FEW])}{more})"
