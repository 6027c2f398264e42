"""`infoxlm finetune-tagging`: tags of words (names, parts of speech), trained in some languages, measured in all."""

import argparse
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from infoxlm_keras.annotations import Array, PathLike, Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.tag_scores import OUTSIDE, span_f1, tag_accuracy
from infoxlm_keras.files import write_json
from infoxlm_keras.finetuning.head import FineTuningHead, cross_entropy
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.finetuning.task_preset import write_task_preset
from infoxlm_keras.models import TokenClassification
from infoxlm_keras.text.labels import write_labels
from infoxlm_keras.text.tagged_sentences import TaggedSentences, read_tagged_sentences
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, UNKNOWN_ID, Tokenizer

DESCRIPTION = """Fine-tunes a tagger of words (names, parts of speech), and measures it in every language.

    infoxlm finetune-tagging --model runs/mine/model --train panx/en/train --dev panx/en/dev \\
        --test panx/*/test --output_dir runs/panx
    infoxlm finetune-tagging --model runs/mine/model --train en_ewt-ud-train.conllu --test *-ud-test.conllu ...

Files are CoNLL-U (.conllu: the tag is UPOS), or have a word and its tag in a line and a blank line behind each
sentence: PAN-X, CoNLL-2002 and -2003, and XTREME's. The language is read from the file's or its folder's name
(docs/finetuning.md). All files are read and checked before training begins.

The first token of a word carries its tag. F1 is that of spans, by seqeval's rules; accuracy is that of words. Words
beyond --max_length tokens get the tag O, and are counted.

Writes to OUTPUT_DIR: model/ (KerasHub preset with labels.json), results.json, f1.png, and with --predictions the tags
of each language (runs/*/predictions).
"""


@dataclasses.dataclass(frozen=True)
class TaggingSettings(FineTuningSettings):
    """The training settings of tagging; XTREME's are the defaults.

    Attributes:
        predictions: bool, whether the tags are written.
    """

    epochs: int = 10
    predictions: bool = False


class TaggingHead(FineTuningHead):
    """Tags of words."""

    name = "tagging"
    samples = "tagged sentences"
    Settings = TaggingSettings
    description = DESCRIPTION
    metric = "f1"

    def __init__(
        self,
        training: Sequence[TaggedSentences],
        development: Sequence[TaggedSentences] = (),
        test: Sequence[TaggedSentences] = (),
    ) -> None:
        super().__init__(training, development, test)
        self.labels = tag_names(training)
        check_tags(self.labels, [*development, *test])
        self._predicted: dict[str, list[list[str]]] = {}
        self._write = False

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--predictions", action="store_true", help="write predictions/LANGUAGE.json, the tags of each sentence"
        )

    @classmethod
    def read(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None, max_samples: int | None = None
    ) -> list[TaggedSentences]:
        return read_tagged_sentences(paths, languages, max_samples)

    def facts(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def notes(self) -> list[str]:
        found = []
        for name, part in self._parts():
            absent = [label for label in self.labels if label not in part.places]
            if absent:
                found.append(f"note: {name} in {part.language} has no word tagged {', '.join(absent)}")
        return found

    def fitting_notes(self) -> list[str]:
        found = []
        for name, part in self._parts():
            lengths = [len(firsts) for firsts in encode_words(self.tokenizer, part.words, self.max_length)[1]]
            beyond = [len(words) - kept for words, kept in zip(part.words, lengths, strict=True)]
            if any(beyond):
                file, line = next(place for place, number in zip(part.lines, beyond, strict=True) if number)
                use = "are not learned" if name == "training" else "get the tag O"
                found.append(
                    f"note: {name} in {part.language}: {sum(beyond):,} words of {sum(map(bool, beyond)):,} sentences "
                    f"are beyond max_length = {self.max_length} tokens and {use} (the first: {file}: line {line})"
                )
        return found

    def make_model(self, settings: TaggingSettings) -> keras.Model:
        self._write = settings.predictions
        return TokenClassification(self.backbone, len(self.labels), dropout=settings.dropout, name="tagging")

    def training_arrays(self) -> dict[str, Array]:
        words = [sentence for part in self.training for sentence in part.words]
        tags = [sentence for part in self.training for sentence in part.tags]
        inputs, firsts = encode_words(self.tokenizer, words, self.max_length)
        targets = np.zeros_like(inputs["token_ids"])
        weights = np.zeros(targets.shape, np.float32)
        numbers = {label: number for number, label in enumerate(self.labels)}
        for row, (places, sentence) in enumerate(zip(firsts, tags, strict=True)):
            targets[row, places] = [numbers[tag] for tag in sentence[: len(places)]]
            weights[row, places] = 1
        return {**inputs, "targets": targets, "weights": weights}

    def losses(self, outputs: Tensor, batch: Tensors) -> tuple[Tensor, Tensor]:
        return cross_entropy(batch["targets"], outputs)

    def measure(
        self, parts: Sequence[TaggedSentences], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        scores: dict[str, dict[str, float]] = {"f1": {}, "accuracy": {}}
        self._predicted = {}
        for part in parts:
            predicted = self.tags(part, batch_size, progress)
            self._predicted[part.language] = predicted
            scores["f1"][part.language] = span_f1(part.tags, predicted)["f1"]
            scores["accuracy"][part.language] = tag_accuracy(part.tags, predicted)
        return scores

    def tags(
        self, part: TaggedSentences, batch_size: int = 32, progress: Callable[[int], object] = lambda samples: None
    ) -> list[list[str]]:
        """The most likely tag of each word of `part`, lists of lists of str.

        A word beyond `max_length` gets `O`, whether or not that is one of the labels.

        Raises:
            InputError: for outputs that are not finite.
        """
        inputs, firsts = encode_words(self.tokenizer, part.words, self.max_length)
        logits = self.predict(inputs, batch_size, progress)
        if not np.isfinite(logits).all():
            file, line = part.lines[int(np.flatnonzero(~np.isfinite(logits).all(axis=(1, 2)))[0])]
            raise InputError(
                f"{part.language}: the model's outputs for the sentence at {file}: line {line} are not finite; its "
                "weights or precision are broken"
            )
        best = logits.argmax(axis=-1)
        found = []
        for row, (places, tags) in enumerate(zip(firsts, part.tags, strict=True)):
            kept = [self.labels[number] for number in best[row, places]]
            found.append([*kept, *(OUTSIDE for _ in tags[len(kept) :])])
        return found

    def save(self, directory: PathLike) -> None:
        write_task_preset(directory, self.model, self.tokenizer)
        write_labels(directory, self.labels)

    def write_predictions(self, directory: PathLike) -> None:
        """Writes the tags of the last `measure` into DIRECTORY/predictions, if the settings ask for them.

        `LANGUAGE.json` holds a list of lists, the tags of each sentence in the order of the files.
        """
        if not self._write:
            return
        folder = pathlib.Path(directory) / "predictions"
        folder.mkdir(parents=True, exist_ok=True)
        for language, tags in self._predicted.items():
            write_json(folder / f"{language}.json", tags)

    def _parts(self):
        for name, parts in (("training", self.training), ("development", self.development), ("test", self.test)):
            for part in parts:
                yield name, part


def encode_words(
    tokenizer: Tokenizer, sentences: Sequence[Sequence[str]], max_length: int
) -> tuple[dict[str, Array], list[list[int]]]:
    """Words as `<s> word word ... </s>`, each tokenized by itself.

    Args:
        tokenizer: `Tokenizer`.
        sentences: list of lists of str. A word that has no token becomes the unknown one.
        max_length: int, tokens with the special ones. A word of which a token does not fit is left out, and with it
            all that follow.

    Returns:
        (inputs, firsts): `token_ids` and `padding_mask`, int32 [sentences, length], the longest sentence's length
        rounded up to 8. And for each sentence the place in its row of the first token of each word that is there.
    """
    pieces = iter(tokenizer.encode([word for words in sentences for word in words]))
    rows, firsts = [], []
    for words in sentences:
        row, places, room = [START_ID], [], True
        for _ in words:
            ids = next(pieces) or [UNKNOWN_ID]
            room = room and len(row) + len(ids) < max_length
            if room:
                places.append(len(row))
                row += ids
        rows.append([*row, END_ID])
        firsts.append(places)
    length = min(max_length, -(-max(map(len, rows), default=8) // 8) * 8)
    token_ids = np.full((len(rows), length), PAD_ID, np.int32)
    for array, row in zip(token_ids, rows, strict=True):
        array[: len(row)] = row
    return {"token_ids": token_ids, "padding_mask": (token_ids != PAD_ID).astype(np.int32)}, firsts


def tag_names(parts: Sequence[TaggedSentences]) -> list[str]:
    """The tags of training data in the order of the outputs: `O` first, then by alphabet.

    Raises:
        InputError: if there are fewer than two.
    """
    found = {tag for part in parts for tag in part.places}
    labels = sorted(found, key=lambda tag: (tag != OUTSIDE, tag))
    if len(labels) < 2:
        raise InputError(f"tags = {labels}: a tagger needs at least two in its training data")
    return labels


def check_tags(labels: Sequence[str], parts: Sequence[TaggedSentences]) -> None:
    """Raises `InputError` for a tag in `parts` that is not in `labels`: file and line."""
    for part in parts:
        for tag in sorted(set(part.places) - set(labels)):
            raise InputError(
                f"{part.places[tag]}: tag {tag!r} is not one of the training data's: {', '.join(labels)}; correct it, "
                "or remove its sentences"
            )
