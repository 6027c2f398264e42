"""Text classification on a pre-trained encoder: trains KerasHub's classifier in some languages and measures it in all.

The protocols are those of Conneau et al. (2018, XNLI). *Cross-lingual transfer* trains on English alone and measures
every language. *Translate-train-all* trains on the translations into all languages.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import keras_hub
import numpy as np

from infoxlm_keras.annotations import Array, PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.models import with_dropout
from infoxlm_keras.pretrained import load_classifier
from infoxlm_keras.text.labels import check_labels, read_labels, write_labels
from infoxlm_keras.tokenizer import END_ID, PAD_ID, START_ID, Tokenizer
from infoxlm_keras.training.optimizer import WarmupLinearDecay

if TYPE_CHECKING:
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.text.labelled_texts import LabelledTexts

DEFAULT_MAX_LENGTH = 128
TASK_WEIGHTS_FILE = "task.weights.h5"  # KerasHub's name of the file with the weights of encoder and head


@dataclasses.dataclass(frozen=True)
class ClassificationSettings:
    """The training settings of a classifier; every value is checked.

    Attributes:
        epochs: int >= 1.
        batch_size: int >= 1, samples an update.
        learning_rate: float > 0, the peak; it rises over the first `warmup_share` of all updates, then falls to 0.
        warmup_share: float in 0..1.
        weight_decay: float >= 0, decoupled; not on biases and layer norms.
        dropout: float in [0, 1), of encoder and head.
        max_length: int, tokens of a sample, special tokens included. Longer samples are cut; of a pair, the longer
            side. None: 128, or the model's number of positions if that is smaller.
        seed: int.
    """

    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    dropout: float = 0.1
    max_length: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "epochs": (self.epochs >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "learning_rate": (self.learning_rate > 0, "positive"),
            "warmup_share": (0 <= self.warmup_share < 1, "in 0..1, below 1"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "dropout": (0 <= self.dropout < 1, "in 0..1, below 1"),
            "max_length": (self.max_length is None or self.max_length >= 8, "at least 8"),
        }
        for name, (holds, limit) in limits.items():
            if not holds:
                raise InputError(f"{name} = {getattr(self, name)}: must be {limit}")


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

    def inputs(self, texts: Sequence[Sequence[str]]) -> dict[str, Array]:
        """The model's inputs, `token_ids` and `padding_mask`, for a list of lists of str (one for each side)."""
        return encode(self.tokenizer, texts, self.max_length)

    def targets(self, part: "LabelledTexts") -> Array:
        """int32 [samples], the index in `labels` of each label of a `LabelledTexts`.

        Raises:
            InputError: for a label that is not among them.
        """
        check_labels(self.labels, [part])
        places = {label: number for number, label in enumerate(self.labels)}
        return np.array([places[label] for label in part.labels], np.int32)

    def accuracies(
        self,
        parts: "Sequence[LabelledTexts]",
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
            targets = self.targets(part)
            predicted = self.model.predict(self.inputs(part.texts), batch_size=batch_size, verbose=0)
            logits = np.asarray(predicted, np.float32)
            if not np.isfinite(logits).all():
                row = int(np.flatnonzero(~np.isfinite(logits).all(axis=-1))[0])
                raise InputError(
                    f"{part.language}: the classifier's outputs for sample {row} (from 0) are not finite; its weights "
                    "or precision are broken"
                )
            found[part.language] = float(np.mean(logits.argmax(axis=-1) == targets))
            progress(len(part))
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

    Raises:
        InputError: if the directory holds none, lacks the weights of the head, or its labels do not fit its outputs.
    """
    read_labels(directory)
    if not (pathlib.Path(directory) / TASK_WEIGHTS_FILE).is_file():
        # KerasHub would give a random head.
        raise InputError(
            f"{directory}: lacks {TASK_WEIGHTS_FILE}, the weights of the head; copy the whole directory again"
        )
    model, tokenizer = load_classifier(directory)
    labels = read_labels(directory, model.num_classes)
    max_length = model.preprocessor.sequence_length
    model.preprocessor = None
    return TextClassifier(model, tokenizer, labels, max_length)


def build_classifier(model: "PretrainedModel", labels: list[str], settings: ClassificationSettings) -> TextClassifier:
    """A classifier on the encoder of `model`, with a randomly initialised head.

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        labels: list of str.
        settings: `ClassificationSettings`.

    Returns:
        `TextClassifier`.

    Raises:
        InputError: for fewer than two labels, or a `max_length` beyond the model's positions.
    """
    if len(labels) < 2:
        raise InputError(f"labels = {labels}: a classifier needs at least two in its training data")
    keras.utils.set_random_seed(settings.seed)
    backbone = with_dropout(model.masked_lm, settings.dropout).backbone
    positions = backbone.max_sequence_length
    max_length = min(DEFAULT_MAX_LENGTH, positions) if settings.max_length is None else settings.max_length
    if max_length > positions:
        raise InputError(f"max_length = {max_length}: the model has {positions} positions")
    classifier = keras_hub.models.XLMRobertaTextClassifier(
        backbone, num_classes=len(labels), preprocessor=None, dropout=settings.dropout
    )
    return TextClassifier(classifier, model.tokenizer, labels, max_length)


def finetune_classifier(
    classifier: TextClassifier,
    training: "Sequence[LabelledTexts]",
    development: "Sequence[LabelledTexts]",
    settings: ClassificationSettings,
    verbose: str | int = "auto",
) -> list[dict[str, Any]]:
    """Trains with `fit` and keeps the epoch with the best mean accuracy over the development languages.

    Args:
        classifier: `TextClassifier`, from `build_classifier`.
        training: list of `LabelledTexts`; all their samples are shuffled together.
        development: list of `LabelledTexts`, empty if there is none; the last epoch is kept then.
        settings: `ClassificationSettings`.
        verbose: as of `keras.Model.fit`.

    Returns:
        list of dicts, one an epoch: `epoch` (from 1), `loss`, `accuracy` (of training), and, with development data,
        `development` (accuracy of each language) and `development_mean`.

    Raises:
        InputError: for a label of the development data that is not the training's, or a loss that is not finite.
    """
    check_labels(classifier.labels, development)
    sides = range(len(training[0].texts))
    inputs = classifier.inputs([[text for part in training for text in part.texts[side]] for side in sides])
    targets = np.concatenate([classifier.targets(part) for part in training])
    keras.utils.set_random_seed(settings.seed)
    order = np.random.default_rng(settings.seed)
    batch_size = min(settings.batch_size, len(targets))
    updates = settings.epochs * -(-len(targets) // batch_size)
    _compile(classifier.model, settings, updates)
    epochs, best, best_weights = [], -1.0, None
    for epoch in range(1, settings.epochs + 1):
        # Shuffled here because the order of `fit` depends on the backend's random numbers.
        shuffled = order.permutation(len(targets))
        history = classifier.model.fit(
            {name: values[shuffled] for name, values in inputs.items()},
            targets[shuffled],
            batch_size=batch_size,
            initial_epoch=epoch - 1,
            epochs=epoch,
            shuffle=False,
            verbose=verbose,
        ).history
        record = {"epoch": epoch, "loss": history["loss"][0], "accuracy": history["accuracy"][0]}
        if not np.isfinite(record["loss"]):
            raise InputError(f"epoch {epoch}: the loss is not finite; lower learning_rate = {settings.learning_rate}")
        if development:
            record["development"] = classifier.accuracies(development, settings.batch_size)
            record["development_mean"] = float(np.mean(list(record["development"].values())))
            if record["development_mean"] > best:
                best, best_weights = record["development_mean"], classifier.model.get_weights()
        epochs.append(record)
    if best_weights is not None:
        classifier.model.set_weights(best_weights)
    return epochs


def _compile(model, settings, updates):
    schedule = WarmupLinearDecay(settings.learning_rate, int(settings.warmup_share * updates), updates)
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=settings.weight_decay, beta_2=0.98, epsilon=1e-6, global_clipnorm=1.0
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )


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
    length = min(max_length, -(-max(map(len, rows)) // 8) * 8)
    token_ids = np.full((len(rows), length), PAD_ID, np.int32)
    for row, ids in zip(token_ids, rows, strict=True):
        row[: len(ids)] = ids
    return {"token_ids": token_ids, "padding_mask": (token_ids != PAD_ID).astype(np.int32)}


def transfer_gap(accuracies: Mapping[str, float], training_languages: Sequence[str]) -> float | None:
    """Accuracy in the training language minus the mean over all other languages, float (the paper, section 4.3).

    None unless there is exactly one training language, and both it and another language were measured.
    """
    others = [accuracy for language, accuracy in accuracies.items() if language not in training_languages]
    if len(training_languages) != 1 or training_languages[0] not in accuracies or not others:
        return None
    return accuracies[training_languages[0]] - float(np.mean(others))
