"""A pre-trained encoder on disk: a KerasHub preset directory plus `infoxlm.json`.

Every KerasHub task opens the directory with `from_preset`; `infoxlm.json` says what InfoXLM adds: the universal
layer and how its vectors are pooled, how long it was trained, on which records and with which tokenizer.
"""

import dataclasses
import pathlib

import keras_hub

from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, read_json, write_json
from infoxlm_keras.tokenizer import Tokenizer

FILE_NAME = "infoxlm.json"
VERSION = 1


@dataclasses.dataclass
class PretrainingInfo:
    """The content of `infoxlm.json`.

    Attributes:
        universal_layer: int, hidden state that XLCO contrasted (index 0 = embeddings).
        pooling: "cls" or "mean", how its vectors were pooled.
        normalize: bool, whether they were compared by cosine.
        steps: int, optimizer updates.
        tasks: list of str.
        tokenizer_fingerprint: str.
        data: dict, digests of the manifests trained on.
        settings: dict, the resolved settings of the run.
    """

    universal_layer: int
    pooling: str = "mean"
    normalize: bool = True
    steps: int = 0
    tasks: list = dataclasses.field(default_factory=list)
    tokenizer_fingerprint: str = ""
    data: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class PretrainedModel:
    """What `load_pretrained` gives: the model, its tokenizer and its history (None for a foreign preset)."""

    masked_lm: keras_hub.models.XLMRobertaMaskedLM
    tokenizer: Tokenizer
    info: PretrainingInfo | None

    @property
    def backbone(self):
        """The `XLMRobertaBackbone`."""
        return self.masked_lm.backbone


def save_pretrained(directory, masked_lm, tokenizer, info, replace=False):
    """Writes the preset directory, complete or not at all.

    Args:
        directory: str or path.
        masked_lm: `XLMRobertaMaskedLM`, head included.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        info: `PretrainingInfo`.
        replace: bool, overwrite an existing directory.
    """
    keras_tokenizer = keras_hub.models.XLMRobertaTokenizer(proto=tokenizer.proto)
    preprocessor = keras_hub.models.XLMRobertaMaskedLMPreprocessor(
        keras_tokenizer, sequence_length=masked_lm.backbone.max_sequence_length
    )
    with new_directory(directory, replace=replace) as temporary:
        present = masked_lm.preprocessor
        masked_lm.preprocessor = preprocessor
        try:
            masked_lm.save_to_preset(str(temporary))
        finally:
            masked_lm.preprocessor = present
        write_json(temporary / FILE_NAME, {"version": VERSION, **dataclasses.asdict(info)})


def load_pretrained(source, dtype=None):
    """A model with its head and tokenizer.

    Args:
        source: a directory written by `save_pretrained`, another KerasHub XLM-R preset directory, or a preset name
            or handle that KerasHub knows (`xlm_roberta_base_multi`, `hf://...`, `kaggle://...`).
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        `PretrainedModel`; its `info` is None if the preset has no `infoxlm.json`.

    Raises:
        InputError: if nothing is there, it is no XLM-R model, or model and tokenizer do not fit each other.
    """
    masked_lm, tokenizer = _load_task(keras_hub.models.XLMRobertaMaskedLM, source, dtype)
    return PretrainedModel(masked_lm, tokenizer, read_info(source))


def load_classifier(source, dtype=None):
    """A fine-tuned classifier and its tokenizer.

    Args:
        source: a preset directory, name or handle of a `keras_hub.models.XLMRobertaTextClassifier`, with its
            head.
        dtype: optional Keras dtype policy for the weights and computations.

    Returns:
        (classifier, `Tokenizer`).

    Raises:
        InputError: as `load_pretrained`, or if the preset holds no classifier.
    """
    return _load_task(keras_hub.models.XLMRobertaTextClassifier, source, dtype)


def has_masked_lm_head(directory):
    """Whether a preset directory holds a masked-LM head; without one `load_pretrained` gives a random one."""
    path = pathlib.Path(directory) / "task.json"
    return path.is_file() and str(read_json(path).get("class_name", "")).endswith("MaskedLM")


def _load_task(task_class, source, dtype):
    path = pathlib.Path(source)
    if str(source).startswith((".", "/", "~")) and not path.is_dir():
        raise InputError(f"{source}: no such directory; give a preset directory or the name of a KerasHub preset")
    if path.is_dir() and not (path / "config.json").is_file():
        raise InputError(f"{source}: is not a preset directory (it has no config.json)")
    options = {} if dtype is None else {"dtype": dtype}
    try:
        task = task_class.from_preset(str(source), **options)
    except (ValueError, FileNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{source}: cannot be opened as an XLM-R model ({reason})") from None
    except TypeError as error:
        # What KerasHub raises when a preset without a head leaves the head's arguments out.
        if "num_classes" not in str(error):
            raise
        raise InputError(
            f"{source}: holds no classifier; fine-tune one and save it with save_to_preset"
        ) from None
    tokenizer = Tokenizer(task.preprocessor.tokenizer.proto, source)
    if tokenizer.vocabulary_size != task.backbone.vocabulary_size:
        raise InputError(
            f"{source}: its tokenizer has {tokenizer.vocabulary_size} ids, its embedding "
            f"{task.backbone.vocabulary_size} rows; they do not belong together"
        )
    return task, tokenizer


def read_info(directory):
    """The `PretrainingInfo` in a preset directory, or None if it holds no `infoxlm.json`.

    Raises:
        InputError: if the file is of another version or has unknown fields.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not path.is_file():
        return None
    content = read_json(path)
    version = content.pop("version", None)
    if version != VERSION:
        raise InputError(f"{path}: version {version!r}, but this release reads version {VERSION}")
    try:
        return PretrainingInfo(**content)
    except TypeError as error:
        raise InputError(f"{path}: {error}") from None
