"""`infoxlm finetune-qa`: extractive question answering, trained in some languages and measured in all."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from infoxlm_keras.annotations import Array, PathLike, Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.answer_scores import answer_scores
from infoxlm_keras.evaluation.answer_spans import best_spans
from infoxlm_keras.files import write_json
from infoxlm_keras.finetuning.head import FineTuningHead, cross_entropy
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.finetuning.task_preset import write_task_preset
from infoxlm_keras.models import QuestionAnswering
from infoxlm_keras.text.question_windows import SPECIAL_TOKENS, QuestionWindows, answer_targets, question_windows
from infoxlm_keras.text.questions import Questions, read_questions
from infoxlm_keras.tokenizer import PAD_ID

DESCRIPTION = """Fine-tunes a model that finds the answer of a question in a text, and measures it in every language.

    infoxlm finetune-qa --model runs/mine/model --train train-v1.1.json --dev xquad.en.json \\
        --test xquad.*.json --output_dir runs/xquad

Files have SQuAD's form (JSON): SQuAD 1.1, XQuAD, MLQA and TyDiQA-GoldP as they are distributed; or they are rows as
the Hugging Face datasets library writes them (JSON lines, a JSON list, Parquet). The language is read from the file's
name (docs/finetuning.md). All files are read and checked before training begins. Answers of MLQA's
files are compared by MLQA's rules, all others by SQuAD's.

Writes to OUTPUT_DIR: model/ (KerasHub preset: infoxlm export-savedmodel --head qa serves it), results.json, f1.png,
and with --predictions the answers of each language, in the form that the official programs take (runs/*/predictions).
"""
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
        if self.max_length is not None and self.max_length <= self.max_question + SPECIAL_TOKENS:
            raise InputError(
                f"max_length = {self.max_length}: leaves no room for a text beside {self.max_question} tokens of a "
                f"question and {SPECIAL_TOKENS} special ones; raise --max_length, or lower --max_question"
            )


class QuestionAnsweringHead(FineTuningHead):
    """Start and end of the answer of a question in a text."""

    name = "qa"
    samples = "questions in SQuAD's form"
    Settings = QuestionAnsweringSettings
    description = DESCRIPTION
    metric = "f1"
    default_max_length = 384

    def __init__(
        self,
        training: Sequence[Questions],
        development: Sequence[Questions] = (),
        test: Sequence[Questions] = (),
    ) -> None:
        super().__init__(training, development, test)
        self.settings: QuestionAnsweringSettings | None = None
        self._answers: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self._windows: dict[tuple, QuestionWindows] = {}
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
            "max_question": "tokens that a question is cut to; fewer than --max_length",
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
        found = []
        for name, part in self._parts():
            for file, ids in part.misplaced.items():
                use = "only its other answers are learned" if name == "training" else "it is compared all the same"
                found.append(f"note: {name}: {file}: {_named(ids)} with an answer that is not at its offset; {use}")
        return found

    def fitting_notes(self) -> list[str]:
        assert self.settings is not None
        found = []
        for name, part in self._parts():
            cut = [part.questions[number].id for number in self.windows(part).cut]
            if cut:
                limit = f"max_question = {self.settings.max_question}"
                found.append(f"note: {name} in {part.language}: {_named(cut)} cut to {limit} tokens")
        for part in self.training:
            reasons: dict[str, list[str]] = {}
            for number, reason in answer_targets(part.questions, self.windows(part))[1].items():
                reasons.setdefault(reason, []).append(part.questions[number].id)
            for reason, ids in reasons.items():
                found.append(f"note: training in {part.language}: {_named(ids)} passed over, with {reason}")
        return found

    def make_model(self, settings: QuestionAnsweringSettings) -> keras.Model:
        self.settings = settings
        return QuestionAnswering(self.backbone)

    def windows(self, part: Questions) -> QuestionWindows:
        """The windows of the questions of `part`; made once for all runs with the same tokenizer and lengths."""
        assert self.settings is not None
        limits = self.max_length, self.settings.stride, self.settings.max_question
        key = id(part), self.tokenizer.fingerprint, *limits
        if key not in self._windows:
            self._windows[key] = question_windows(self.tokenizer, part.questions, *limits)
        return self._windows[key]

    def _parts(self):
        for name, parts in (("training", self.training), ("development", self.development), ("test", self.test)):
            for part in parts:
                yield name, part

    def training_arrays(self) -> dict[str, Array]:
        """All windows of the training questions; of those that are passed over, none.

        Returns:
            dict of `token_ids`, `padding_mask` (int32 [windows, length]), `targets` (int32 [windows, 2], first and
            last token of the answer; 0 where the window does not hold it) and `weights` (float32 [windows], ones).
        """
        windows = [self.windows(part) for part in self.training]
        learned = [
            answer_targets(part.questions, found)[0] for part, found in zip(self.training, windows, strict=True)
        ]
        kept = [targets[:, 0] >= 0 for targets in learned]
        targets = np.concatenate([targets[keep] for targets, keep in zip(learned, kept, strict=True)])
        if not len(targets):
            files = ", ".join(file for part in self.training for file in part.files)
            raise InputError(f"{files}: no window holds a whole answer; give a larger --max_length")
        return {
            "token_ids": _stacked([part.token_ids[keep] for part, keep in zip(windows, kept, strict=True)], PAD_ID),
            "padding_mask": _stacked([part.padding_mask[keep] for part, keep in zip(windows, kept, strict=True)], 0),
            "targets": targets,
            "weights": np.ones(len(targets), np.float32),
        }

    def losses(self, outputs: Tensor, batch: Tensors) -> tuple[Tensor, Tensor]:
        """The mean cross-entropy of start and end over the tokens of each window, and whether both are right."""
        mask = ops.expand_dims(ops.cast(batch["padding_mask"], "float32"), -1)
        logits = ops.cast(outputs, "float32") * mask + (1 - mask) * IMPOSSIBLE
        losses, correct = cross_entropy(batch["targets"], ops.transpose(logits, (0, 2, 1)))
        return ops.mean(losses, axis=-1), ops.min(correct, axis=-1)

    def measure(
        self, parts: Sequence[Questions], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {"f1": {}, "exact_match": {}}
        self._answers = {}
        for part in parts:
            windows = self.windows(part)
            inputs = {"token_ids": windows.token_ids, "padding_mask": windows.padding_mask}
            logits = self.predict(inputs, batch_size)
            if not np.isfinite(logits).all():
                row = int(np.flatnonzero(~np.isfinite(logits).all(axis=(1, 2)))[0])
                raise InputError(
                    f"{part.language}: the model's outputs for question {part.questions[windows.rows[row]].id} are "
                    "not finite; its weights or precision are broken"
                )
            answers = self.answers(part, logits)
            self._answers[part.language] = answers
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
        assert self.settings is not None
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

    def chance(self) -> float | None:
        """F1 of the answers that the place in the text alone makes most likely, mean over the measured languages.

        A start logit is the logarithm of how many training answers begin at this token of the text (plus 1), an end
        logit of how many end there: the guess knows neither question nor text. None before `build`.
        """
        if self.settings is None:
            return None
        counts = np.ones((self.max_length, 2))
        for part in self.training:
            windows = self.windows(part)
            targets, _ = answer_targets(part.questions, windows)
            whole = (targets[:, 0] > 0) & (windows.firsts == 0)
            for side in range(2):
                np.add.at(counts[:, side], targets[whole, side] - windows.places[whole], 1)
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

    def write_predictions(self, directory: PathLike) -> None:
        """Writes the answers of the last `measure` into DIRECTORY/predictions, if the settings ask for them.

        `LANGUAGE.json` holds {id: answer}, as SQuAD's and MLQA's programs take it; `LANGUAGE.nbest.json` holds {id:
        list of {"text", "score"}}.
        """
        if self.settings is None or not self.settings.predictions:
            return
        folder = pathlib.Path(directory) / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for language, answers in self._answers.items():
            write_json(folder / f"{language}.json", {name: found[0]["text"] for name, found in answers.items()})
            write_json(folder / f"{language}.nbest.json", answers)


def _stacked(arrays, padding):
    """Rows of different lengths as one array."""
    length = max(array.shape[1] for array in arrays)
    widened = [np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=padding) for array in arrays]
    return np.concatenate(widened)


def _named(ids):
    more = f" and {len(ids) - FEW:,} more" if len(ids) > FEW else ""
    return f"{len(ids):,} question{'s' * (len(ids) > 1)} ({', '.join(ids[:FEW])}{more})"
