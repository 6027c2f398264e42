"""Text classification on a pre-trained encoder: trains KerasHub's classifier in some languages and measures it in all.

The protocols are those of Conneau et al. (2018, XNLI). *Cross-lingual transfer* trains on English alone and measures
every language. *Translate-train-all* trains on the translations into all languages.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_hub
import numpy as np

from infoxlm_keras.annotations import Array, PathLike, Tensor, Tensors
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.files.model_directory import model_directory
from infoxlm_keras.finetuning.head import FineTuningHead, cross_entropy
from infoxlm_keras.finetuning.prediction import predict, prediction_model
from infoxlm_keras.finetuning.settings import FineTuningSettings
from infoxlm_keras.finetuning.token_rows import padded_rows
from infoxlm_keras.pretrained import load_classifier
from infoxlm_keras.text.labelled_texts import LabelledTexts, read_labelled_texts
from infoxlm_keras.text.labels import check_labels, class_names, read_labels, write_labels
from infoxlm_keras.tokenizer import END_ID, START_ID, Tokenizer

DESCRIPTION = """Fine-tunes a classifier of texts, or of pairs of texts, and measures it in every language.

Cross-lingual transfer (train on English, measure everywhere) and translate-train-all (train on all translations) are
the same command with other files:

    infoxlm finetune-classification --model runs/mine/model --train multinli.train.en.tsv \\
        --dev xnli.dev.tsv --test xnli.test.tsv --output_dir runs/xnli
    infoxlm finetune-classification --model microsoft/infoxlm-base --train multinli.train.*.tsv ...

Files are tab-separated with a header, CSV, JSON lines or Parquet: XNLI, MultiNLI, PAWS-X as they are distributed, or
your own with the columns label, text (or sentence1, sentence2) and language. Without a column language, the
language is read from the file's name (train.en.tsv) or from the columns' names (sentence1_sw). All files are read
and checked before training begins. Rows without a gold label or text are left out and counted. The
update that is best on --dev (mean over languages) is kept; without --dev the last one.

Writes to OUTPUT_DIR: model/ (KerasHub preset with labels.json: infoxlm export-savedmodel --head classifier serves
it), results.json, accuracy.png, and runs/ with the numbers of each run.
"""
TASK_WEIGHTS_FILE = "task.weights.h5"  # KerasHub's name of the file with the weights of encoder and head


@dataclasses.dataclass(frozen=True)
class ClassificationSettings(FineTuningSettings):
    """The training settings of a classifier; see `infoxlm_keras.finetuning.settings.FineTuningSettings`."""


@dataclasses.dataclass
class TextClassifier:
    """A classifier with the tokenizer and labels that it needs for text.

    Attributes:
        model: `keras_hub.models.XLMRobertaTextClassifier` on token ids; gives logits [batch, classes].
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        labels: list of str, the classes in the order of the outputs.
        max_length: int, tokens of the longest input.
    """

    model: keras_hub.models.XLMRobertaTextClassifier
    tokenizer: Tokenizer
    labels: list[str]
    max_length: int

    @functools.cached_property
    def predictions(self) -> keras.Model:
        """The model that `accuracies` calls, see `infoxlm_keras.finetuning.prediction`."""
        return prediction_model(self.model)

    def inputs(self, texts: Sequence[Sequence[str]]) -> dict[str, Array]:
        """The model's inputs, `token_ids` and `padding_mask`, for a list of lists of str (one for each side)."""
        return encode(self.tokenizer, texts, self.max_length)

    def targets(self, part: LabelledTexts) -> Array:
        """int32 [samples], the index in `labels` of each label of a `LabelledTexts`.

        Raises:
            InputError: for a label that is not among them.
        """
        check_labels(self.labels, [part])
        places = {label: number for number, label in enumerate(self.labels)}
        return np.array([places[label] for label in part.labels], np.int32)

    def accuracies(
        self,
        parts: Sequence[LabelledTexts],
        batch_size: int = 32,
        progress: Callable[[int], object] = lambda samples: None,
    ) -> dict[str, float]:
        """dict of language to accuracy, float in 0..1.

        Args:
            parts: list of `LabelledTexts` of different languages.
            batch_size: int, samples a forward pass.
            progress: function that is called with the number of samples just measured.

        Raises:
            InputError: for a label that is not among `labels`; for logits that are not finite.
        """
        check_labels(self.labels, parts)
        found = {}
        for part in parts:
            logits = predict(self.predictions, self.inputs(part.texts), batch_size, progress)
            if not np.isfinite(logits).all():
                row = int(np.flatnonzero(~np.isfinite(logits).all(axis=-1))[0])
                raise InputError(
                    f"{part.language}: the classifier's outputs for sample {row} (from 0) are not finite; its weights "
                    "or precision are broken"
                )
            found[part.language] = float(np.mean(logits.argmax(axis=-1) == self.targets(part)))
        return found

    def save(self, directory: PathLike) -> None:
        """Writes a KerasHub preset that takes strings, and `labels.json`, into the existing `directory`.

        KerasHub's files do not hold the names of the classes: `infoxlm_keras.finetuning.read_labels` gives them.
        """
        preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
            keras_hub.models.XLMRobertaTokenizer(proto=self.tokenizer.proto), sequence_length=self.max_length
        )
        check_room(directory, self.model, self.model.backbone)
        self.model.preprocessor = preprocessor
        try:
            self.model.save_to_preset(str(directory))
        finally:
            self.model.preprocessor = None
        write_labels(directory, self.labels)


def load_text_classifier(directory: PathLike) -> TextClassifier:
    """The `TextClassifier` that `TextClassifier.save` wrote.

    Args:
        directory: str or path, an address in a store (`gs://`, `s3://`), or a Hugging Face repository
            (`hf://org/name`).

    Raises:
        InputError: if the directory holds none, lacks the weights of the head, or its labels do not fit its outputs.
    """
    path = model_directory(directory)
    read_labels(directory)
    if path is not None and not (path / TASK_WEIGHTS_FILE).is_file():
        # KerasHub would give a random head.
        raise InputError(
            f"{directory}: lacks {TASK_WEIGHTS_FILE}, the weights of the head; copy the whole directory again"
        )
    model, tokenizer = load_classifier(directory)
    labels = read_labels(directory, model.num_classes)
    max_length = model.preprocessor.sequence_length
    model.preprocessor = None
    return TextClassifier(model, tokenizer, labels, max_length)


def encode(tokenizer: Tokenizer, texts: Sequence[Sequence[str]], max_length: int) -> dict[str, Array]:
    """Token ids in XLM-R's format: `<s> text </s>`, or `<s> text </s></s> text_pair </s>`.

    A pair that is too long is cut where KerasHub's classifier cuts it: both sides get half of the room, and room that
    the shorter side leaves goes to the longer.

    Args:
        tokenizer: `Tokenizer`.
        texts: list of one or two lists of str, [samples] each.
        max_length: int, tokens with all special ones.

    Returns:
        dict of `token_ids` and `padding_mask`, int32 [samples, length]: the longest sample's, rounded up to 8.
    """
    sides = [tokenizer.encode(side) for side in texts]
    if len(sides) == 1:
        rows = [[START_ID, *ids[: max_length - 2], END_ID] for ids in sides[0]]
    else:
        room = max_length - 4
        rows = []
        for first, second in zip(*sides, strict=True):
            first = first[: max(room - len(second), (room + 1) // 2)]
            rows.append([START_ID, *first, END_ID, END_ID, *second[: room - len(first)], END_ID])
    return padded_rows(rows, max_length)


class ClassificationHead(FineTuningHead):
    """Classes of texts, or of pairs of texts."""

    name = "classification"
    samples = "labelled texts"
    Settings = ClassificationSettings
    description = DESCRIPTION

    def __init__(
        self,
        training: Sequence[LabelledTexts],
        development: Sequence[LabelledTexts] = (),
        test: Sequence[LabelledTexts] = (),
    ) -> None:
        super().__init__(training, development, test)
        measured = [*development, *test]
        _check_kinds(training, measured)
        self.labels = class_names(training)
        check_labels(self.labels, measured)

    @classmethod
    def read(
        cls, paths: Sequence[PathLike], languages: Sequence[str] | None = None, max_samples: int | None = None
    ) -> list[LabelledTexts]:
        return read_labelled_texts(paths, languages, max_samples)

    def facts(self) -> dict[str, Any]:
        return {"labels": self.labels}

    def notes(self) -> list[str]:
        data = {"training": self.training, "development": self.development, "test": self.test}
        found = []
        for name, parts in data.items():
            for part in parts:
                if len(part.files) > 1:
                    files = ", ".join(part.files)
                    found.append(f"note: {name} in {part.language} joins {len(part.files):,} files: {files}")
                absent = [label for label in self.labels if label not in part.places]
                if absent:
                    found.append(f"note: {name} in {part.language} has no sample labelled {', '.join(absent)}")
        return found

    def make_model(self, settings: ClassificationSettings) -> keras.Model:
        model = keras_hub.models.XLMRobertaTextClassifier(
            self.backbone, num_classes=len(self.labels), preprocessor=None, dropout=settings.dropout
        )
        self.classifier = TextClassifier(model, self.tokenizer, self.labels, self.max_length)
        return model

    def training_arrays(self) -> dict[str, Array]:
        sides = range(len(self.training[0].texts))
        inputs = self.classifier.inputs([[text for part in self.training for text in part.texts[s]] for s in sides])
        targets = np.concatenate([self.classifier.targets(part) for part in self.training])
        return {**inputs, "targets": targets, "weights": np.ones(len(targets), np.float32)}

    def losses(self, outputs: Tensor, batch: Tensors) -> tuple[Tensor, Tensor]:
        return cross_entropy(batch["targets"], outputs)

    def measure(
        self, parts: Sequence[LabelledTexts], batch_size: int, progress: Callable[[int], object]
    ) -> dict[str, dict[str, float]]:
        return {self.metric: self.classifier.accuracies(parts, batch_size, progress)}

    def chance(self) -> float:
        return 1 / len(self.labels)

    def save(self, directory: PathLike) -> None:
        self.classifier.save(directory)


def _check_kinds(training, measured):
    """Raises `InputError` if some samples are single texts and others pairs."""
    sides = len(training[0].texts)
    for part in measured:
        if len(part.texts) != sides:
            kinds = {1: "single texts", 2: "pairs of texts"}
            raise InputError(f"{part.files[0]}: holds {kinds[len(part.texts)]}, but the training data {kinds[sides]}")
