"""A pre-trained encoder on disk: a KerasHub preset directory plus `infoxlm.json`.

Every KerasHub task opens the directory with `from_preset`; `infoxlm.json` says what InfoXLM adds: the universal
layer and how its vectors are pooled, how long it was trained, on which records and with which tokenizer.
`infoxlm_keras.conversion` reads the files of Hugging Face, sentence-transformers and fairseq.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import POOLINGS
from infoxlm_keras.conversion.from_sentence_transformers import read_folder_vector
from infoxlm_keras.conversion.keras_hub_preset import check_preset, task_class_name
from infoxlm_keras.conversion.positions import Remainder, load_remainder, save_remainder
from infoxlm_keras.conversion.sources import KERAS, locate
from infoxlm_keras.conversion.tokenizers import check_sizes, load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.evaluation.sentence_vectors import SentenceEncoder, check_texts, cosine_similarity
from infoxlm_keras.files import describe, new_directory, read_json, write_json
from infoxlm_keras.files.disk_room import check_room
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
        max_length: int, tokens that a text is cut to for its vector; None: the encoder's positions. From a
            sentence-transformers folder.
        vector_refusal: str, why the own vector of a sentence-transformers folder cannot be expressed; else empty.
    """

    universal_layer: int
    pooling: str = "mean"
    normalize: bool = True
    steps: int = 0
    tasks: list[str] = dataclasses.field(default_factory=list)
    tokenizer_fingerprint: str = ""
    data: dict[str, str] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    max_length: int | None = None
    vector_refusal: str = ""


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# What a value must be, by field: a check and its words.
_FIELDS = {
    "universal_layer": (_is_count, "a whole number of at least 0"),
    "pooling": (lambda value: value in POOLINGS, f"one of {', '.join(POOLINGS)}"),
    "normalize": (lambda value: isinstance(value, bool), "true or false"),
    "steps": (_is_count, "a whole number of at least 0"),
    "tasks": (
        lambda value: isinstance(value, list) and all(isinstance(task, str) for task in value),
        "a list of text",
    ),
    "tokenizer_fingerprint": (lambda value: isinstance(value, str), "text"),
    "data": (lambda value: isinstance(value, dict), "an object"),
    "settings": (lambda value: isinstance(value, dict), "an object"),
    "max_length": (lambda value: value is None or (_is_count(value) and value >= 3), "a whole number of at least 3"),
    "vector_refusal": (lambda value: isinstance(value, str), "text"),
}


@dataclasses.dataclass
class PretrainedModel:
    """What `load_pretrained` gives.

    Attributes:
        masked_lm: `keras_hub.models.XLMRobertaMaskedLM`.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        info: `PretrainingInfo`, the model's history; None for one that was not trained here. Of a
            sentence-transformers folder it says which vector the folder gives.
        has_head: bool, whether the masked-LM head was in the files; if not, that of `masked_lm` is random.
        remainder: `infoxlm_keras.conversion.positions.Remainder`, what a Hugging Face checkpoint holds beyond the
            encoder; None if the model comes from no such checkpoint.
    """

    masked_lm: keras_hub.models.XLMRobertaMaskedLM
    tokenizer: Tokenizer
    info: PretrainingInfo | None
    has_head: bool = True
    remainder: Remainder | None = None
    # (settings, `SentenceEncoder`) of the last call of `encode`: the next one compiles nothing again.
    _encoder: tuple | None = dataclasses.field(default=None, init=False, repr=False, compare=False)

    @property
    def backbone(self) -> keras_hub.models.XLMRobertaBackbone:
        """The `XLMRobertaBackbone`."""
        return self.masked_lm.backbone

    def encode(self, texts, batch_size=64, progress=None, layer=None, pooling=None):
        """The model's own sentence vectors: its universal layer, pooled and scaled as it was trained.

        The SavedModel of `infoxlm export-savedmodel` gives the same ones. A text's vector does not depend on the other
        texts. Texts of similar length go through the encoder together.

        Args:
            texts: list (or other iterable) of str; one str gives one vector. Longer texts than the model's positions
                are cut.
            batch_size: int, texts a forward pass.
            progress: bool, whether a progress bar is shown; None: for more than 1,000 texts.
            layer: int in 0..L, another hidden state (0 = embeddings); None: as trained.
            pooling: "cls" or "mean"; None: as trained.

        Returns:
            float32 [len(texts), dim]; [dim] for one str; [0, dim] for an empty list.

        Raises:
            InputError: for something else than text, or a setting out of range.

        Example:
        ```python
        model = load_pretrained("runs/demo/model")
        vectors = model.encode(["Open the file", "Öffnen Sie die Datei"])  # float32 [2, 256]
        model.similarity("Open the file", ["Öffnen Sie die Datei", "Fermez la fenêtre"])  # float32 [2]
        ```
        """
        settings = (self.backbone, self.tokenizer, self.info, batch_size, layer, pooling)
        if self._encoder is None or self._encoder[0] != settings:
            self._encoder = (settings, SentenceEncoder(self, batch_size, layer, pooling))
        return self._encoder[1](texts, progress)

    def similarity(self, a, b):
        """Cosine similarity of each of `a` with each of `b`.

        Args:
            a, b: a str, a list of str, or vectors of `encode`, float [n, dim] or [dim].

        Returns:
            float32 [len(a), len(b)], without the axis of a side that is one str or one vector.

        Raises:
            InputError: for what is neither text nor vectors, or vectors of different widths.
        """
        return cosine_similarity(*(self.encode(side) if _is_text(side) else side for side in (a, b)))


def _is_text(side):
    """Whether an argument of `similarity` is text. An empty list is; a list of text and numbers is refused."""
    if isinstance(side, str):
        return True
    if not isinstance(side, list | tuple):
        return isinstance(side, np.ndarray) and side.dtype.kind in "US"
    if any(isinstance(text, str) for text in side):
        check_texts(side)
        return True
    return not side


def save_pretrained(
    directory: PathLike,
    masked_lm: keras_hub.models.XLMRobertaMaskedLM,
    tokenizer: Tokenizer,
    info: PretrainingInfo | None,
    replace: bool = False,
) -> None:
    """Writes the preset directory, complete or not at all.

    Args:
        directory: str or path.
        masked_lm: `XLMRobertaMaskedLM`, head included.
        tokenizer: `infoxlm_keras.tokenizer.Tokenizer`.
        info: `PretrainingInfo`.
        replace: bool, overwrite an existing directory.
    """
    with new_directory(directory, replace=replace) as temporary:
        write_preset(temporary, PretrainedModel(masked_lm, tokenizer, info))


def write_preset(directory: PathLike, model: PretrainedModel) -> None:
    """Writes the files of a preset into the existing `directory`.

    Args:
        directory: path.
        model: `PretrainedModel`. Without a head only the encoder is written, and `infoxlm.json` only with an info.
    """
    directory = pathlib.Path(directory)
    masked_lm = model.masked_lm
    preprocessor = keras_hub.models.XLMRobertaMaskedLMPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=model.tokenizer.proto),
        sequence_length=masked_lm.backbone.max_sequence_length,
    )
    check_room(directory, masked_lm, masked_lm.backbone)
    if model.has_head:
        present = masked_lm.preprocessor
        masked_lm.preprocessor = preprocessor
        try:
            masked_lm.save_to_preset(str(directory))
        finally:
            masked_lm.preprocessor = present
    else:
        masked_lm.backbone.save_to_preset(str(directory))
        preprocessor.save_to_preset(str(directory))
    for name in ("config.json", "task.json"):
        if (directory / name).is_file():
            write_json(directory / name, _without_mixed_precision(read_json(directory / name)))
    if model.info is not None:
        write_info(directory, model.info)
    if model.remainder is not None:
        save_remainder(directory, model.remainder)


def _without_mixed_precision(config):
    """A serialized model's configuration with float32 for mixed precision, which is how its variables are stored.

    KerasHub 0.32 fails to open a preset of a mixed policy (`Invalid dtype: mixed_bfloat16`) without a `dtype`
    argument.
    """
    if isinstance(config, list):
        return [_without_mixed_precision(value) for value in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy" and str(config["config"]["name"]).startswith("mixed_"):
        return {**config, "config": {**config["config"], "name": "float32"}}
    return {key: _without_mixed_precision(value) for key, value in config.items()}


def _saved_in_mixed_precision(location):
    path = None if location.directory is None else location.directory / "config.json"
    if path is None or not path.is_file():
        return False
    config = read_json(path)
    return _without_mixed_precision(config) != config


def load_pretrained(
    source: PathLike, dtype: str | keras.DTypePolicy | None = None, progress: Callable[[int, int], None] | None = None
) -> PretrainedModel:
    """A model with its head and tokenizer.

    Args:
        source: a directory written by `save_pretrained` or another KerasHub XLM-R preset directory; a preset that
            KerasHub knows (`xlm_roberta_base_multi`, `kaggle://...`); a Hugging Face directory or repository
            (`hf://org/name`, `org/name`, `@revision` may follow), sentence-transformers' included; a directory of
            fairseq's weights. Of Hugging Face and fairseq only safetensors are read.
        dtype: optional Keras dtype policy for the weights and computations; None takes the global policy.
        progress: optional function that is called with (parameters just read, parameters in all).

    Returns:
        `PretrainedModel`; its `info` is None if there is no `infoxlm.json`.

    Raises:
        InputError: if nothing is there, it is no XLM-R model, or model and tokenizer do not fit each other.
    """
    location = locate(source)
    info = read_info(location.directory) if location.directory else None
    if location.layout == KERAS:
        masked_lm, tokenizer = _load_task(keras_hub.models.XLMRobertaMaskedLM, location, dtype)
        has_head = _has_head(location, masked_lm)
        remainder = load_remainder(location.directory, masked_lm.backbone) if location.directory else None
    else:
        from infoxlm_keras.conversion.load import load_checkpoint

        assert location.directory is not None  # only a preset that KerasHub fetches has none
        masked_lm, tokenizer, has_head, remainder = load_checkpoint(
            location.directory, location.layout, dtype, progress
        )
    layers = masked_lm.backbone.num_layers
    if info is not None and info.universal_layer > layers:
        raise InputError(
            f"{location.directory}/{FILE_NAME}: universal_layer = {info.universal_layer}, but the model has {layers} "
            "layers; they do not belong together"
        )
    if location.sentence_folder is not None:
        info = _folder_info(location.sentence_folder, info, layers, tokenizer)
    return PretrainedModel(masked_lm, tokenizer, info, has_head, remainder)


def _folder_info(directory, info, num_layers, tokenizer):
    """`info` (or None) with the vector that the sentence-transformers folder `directory` gives."""
    vector = read_folder_vector(directory)
    if vector.refusal:
        print(f"warning: the folder's own sentence vectors are not read: {vector.refusal}")
    if vector.prompts:
        print(
            f"note: {directory}: its prompts {', '.join(vector.prompts)} are put before a text only where they are "
            "asked for; write them before your texts where the model needs them"
        )
    info = info or PretrainingInfo(universal_layer=num_layers, tokenizer_fingerprint=tokenizer.fingerprint)
    return dataclasses.replace(
        info,
        universal_layer=num_layers,
        pooling=vector.pooling,
        normalize=vector.normalize,
        max_length=vector.max_length,
        vector_refusal=vector.refusal,
    )


def load_classifier(
    source: PathLike, dtype: str | keras.DTypePolicy | None = None
) -> tuple[keras_hub.models.XLMRobertaTextClassifier, Tokenizer]:
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
    location = locate(source)
    if location.layout != KERAS:
        raise InputError(
            f"{source}: is no KerasHub preset; a classifier is read from a preset that save_to_preset wrote"
        )
    return _load_task(keras_hub.models.XLMRobertaTextClassifier, location, dtype)


def has_masked_lm_head(directory: PathLike) -> bool:
    """Whether a directory that `load_pretrained` takes holds a masked-LM head; if not, it gives a random one.

    Of a model that is loaded anyway, `PretrainedModel.has_head` says so for every kind of source.
    """
    location = locate(directory)
    if location.layout != KERAS:
        from infoxlm_keras.conversion.load import holds_head

        assert location.directory is not None  # only a preset that KerasHub fetches has none
        return holds_head(location.directory, location.layout)
    if location.directory is None:
        return False
    return (task_class_name(location.directory) or "").endswith("MaskedLM")


def _has_head(location, masked_lm):
    if location.directory is not None:
        return has_masked_lm_head(location.directory)
    # We do not know the files that KerasHub fetched itself, but a bias of zeros was never trained.
    bias = next(weight for weight in masked_lm.masked_lm_head.weights if weight.path.endswith("output_bias"))
    return bool(np.any(ops.convert_to_numpy(bias)))


def _load_task(task_class, location, dtype):
    source = location.name
    if dtype is None and _saved_in_mixed_precision(location):
        dtype = keras.config.dtype_policy()
    options = {} if dtype is None else {"dtype": dtype}
    if location.directory is not None:
        check_preset(location.directory)
        # The layout of ids is checked before KerasHub reads the same file.
        load_tokenizer(location.directory)
    try:
        task = task_class.from_preset(source, **options)
    except Exception as error:
        # What KerasHub raises when a preset without a head leaves the head's arguments out.
        if isinstance(error, TypeError) and "num_classes" in str(error):
            raise InputError(f"{source}: holds no classifier; fine-tune one and save it with save_to_preset") from None
        raise InputError(f"{source}: cannot be opened as an XLM-R model ({describe(error)})") from error
    tokenizer = Tokenizer(task.preprocessor.tokenizer.proto, source)
    check_sizes(source, tokenizer, task.backbone.vocabulary_size)
    return task, tokenizer


def write_info(directory: PathLike, info: PretrainingInfo) -> None:
    """Writes `infoxlm.json` into `directory`."""
    content = dataclasses.asdict(info)
    # Only sentence-transformers folders have them; other files stay readable by earlier releases.
    for name in ("max_length", "vector_refusal"):
        if not content[name]:
            del content[name]
    write_json(pathlib.Path(directory) / FILE_NAME, {"version": VERSION, **content})


def read_info(directory: PathLike) -> PretrainingInfo | None:
    """The `PretrainingInfo` in a preset directory, or None if it holds no `infoxlm.json`.

    Raises:
        InputError: if the file is damaged, of another version, or has unknown fields.
    """
    path = pathlib.Path(directory) / FILE_NAME
    if not os.path.lexists(path):
        return None
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: does not describe a model's training; remove it to go on without")
    version = content.pop("version", None)
    if version != VERSION:
        raise InputError(f"{path}: version {version!r}, but this release reads version {VERSION}")
    for name, value in content.items():
        if name in _FIELDS and not _FIELDS[name][0](value):
            raise InputError(f"{path}: {name} = {value!r}, but must be {_FIELDS[name][1]}")
    try:
        return PretrainingInfo(**content)
    except TypeError as error:
        raise InputError(f"{path}: {error}") from None
