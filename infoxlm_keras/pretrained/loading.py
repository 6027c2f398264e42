"""Opens presets, and the files of other libraries, as a model with its head and tokenizer."""

import dataclasses
import pathlib
from collections.abc import Callable

import keras
import keras_hub
import numpy as np
from keras import ops

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.finite_weights import check_finite_weights
from infoxlm_keras.conversion.from_sentence_transformers import read_folder_vector
from infoxlm_keras.conversion.keras_hub_preset import check_preset, task_class_name
from infoxlm_keras.conversion.positions import load_remainder
from infoxlm_keras.conversion.sources import KERAS, locate
from infoxlm_keras.conversion.tokenizers import check_sizes, load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import describe, parsing, read_json

# KerasHub finds the classes of presets with these heads only once they are imported.
from infoxlm_keras.models import question_answering, token_classification  # noqa: F401
from infoxlm_keras.pretrained.information import FILE_NAME, PretrainingInfo, read_info
from infoxlm_keras.pretrained.mixed_precision import saved_in_mixed_precision
from infoxlm_keras.pretrained.model import PretrainedModel
from infoxlm_keras.tokenizer import Tokenizer


def load_pretrained(
    source: PathLike, dtype: str | keras.DTypePolicy | None = None, progress: Callable[[int, int], None] | None = None
) -> PretrainedModel:
    """A model with its head and tokenizer.

    Args:
        source: a directory written by `save_pretrained` or another KerasHub XLM-R preset directory; a preset that
            KerasHub knows (`xlm_roberta_base_multi`, `kaggle://...`); a Hugging Face directory or repository
            (`hf://org/name`, `org/name`, `@revision` may follow), sentence-transformers' included; a directory of
            fairseq's weights. Weights of Hugging Face and fairseq must be safetensors.
        dtype: optional Keras dtype policy for the weights and computations; None takes the global policy.
        progress: optional function that is called with (parameters just read, parameters in all).

    Returns:
        `PretrainedModel`; its `info` is None if there is no `infoxlm.json`.

    Raises:
        InputError: if nothing is there, it is no XLM-R model, model and tokenizer do not fit each other, or a weight
            is not finite (names it).
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
    if location.layout == KERAS and location.directory and info is None:
        info = _embedder_info(location.directory, layers, tokenizer)
    if location.sentence_folder is not None:
        info = _folder_info(location.sentence_folder, info, layers, tokenizer)
    return PretrainedModel(masked_lm, tokenizer, info, has_head, remainder)


def _embedder_info(directory, num_layers, tokenizer):
    """`PretrainingInfo` with the vector of a preset of KerasHub's text embedder; None for another preset."""
    path = pathlib.Path(directory) / "task.json"
    content = read_json(path, dict) if path.is_file() else {}
    if not str(content.get("class_name")).endswith("TextEmbedder"):
        return None
    with parsing(path, "a task of KerasHub"):
        config = content["config"]
        pooling, normalize = config.get("pooling_mode", "mean"), bool(config.get("normalize", True))
        preprocessor = config.get("preprocessor") or {}
        max_length = preprocessor.get("config", {}).get("sequence_length")
    return PretrainingInfo(
        universal_layer=num_layers,
        pooling=pooling,
        normalize=normalize,
        max_length=max_length,
        tokenizer_fingerprint=tokenizer.fingerprint,
    )


def _folder_info(directory, info, num_layers, tokenizer):
    """`info` (or None) with the vector that the sentence-transformers folder `directory` gives."""
    vector = read_folder_vector(directory)
    if vector.refusal:
        print(f"warning: the folder's own sentence vectors are not read: {vector.refusal}")
    if vector.prompts_refusal:
        print(f"warning: the folder's prompts are not read: {vector.prompts_refusal}")
    if vector.prompts:
        print(
            f"note: {directory}: its prompts {', '.join(vector.prompts)} are put before a text only where they are "
            "asked for, as in encode(texts, prompt=...); infoxlm search uses query and document"
        )
    info = info or PretrainingInfo(universal_layer=num_layers, tokenizer_fingerprint=tokenizer.fingerprint)
    return dataclasses.replace(
        info,
        universal_layer=num_layers,
        pooling=vector.pooling,
        normalize=vector.normalize,
        max_length=vector.max_length,
        vector_refusal=vector.refusal,
        prompts=vector.prompts,
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

    For a loaded model, `PretrainedModel.has_head` gives the same for every kind of source.
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
    if dtype is None and saved_in_mixed_precision(location):
        dtype = keras.config.dtype_policy()
    options = {} if dtype is None else {"dtype": dtype}
    if location.directory is not None:
        check_preset(location.directory)
        # The layout of ids is checked before KerasHub reads the same file.
        load_tokenizer(location.directory)
    try:
        task = task_class.from_preset(source, **options)
        # Settings may put anything in the preprocessor's place.
        proto = task.preprocessor.tokenizer.proto
    except Exception as error:
        # What KerasHub raises when a preset without a head leaves the head's arguments out.
        if isinstance(error, TypeError) and "num_classes" in str(error):
            raise InputError(f"{source}: holds no classifier; fine-tune one and save it with save_to_preset") from None
        if location.directory is None and "Unknown preset identifier" in str(error):
            raise InputError(f"{source}: no such directory, and KerasHub knows no preset of this name") from None
        raise InputError(f"{source}: cannot be opened as an XLM-R model ({describe(error)})") from error
    check_finite_weights(task, source)
    tokenizer = Tokenizer(proto, source)
    check_sizes(source, tokenizer, task.backbone.vocabulary_size)
    return task, tokenizer
