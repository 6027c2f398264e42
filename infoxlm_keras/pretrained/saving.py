"""Writes a model as a KerasHub preset directory with `infoxlm.json`."""

import pathlib

import keras_hub

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.conversion.positions import save_remainder
from infoxlm_keras.files import MODEL_FOLDER, new_directory, read_json, write_json
from infoxlm_keras.files.disk_room import check_room
from infoxlm_keras.pretrained.information import PretrainingInfo, write_info
from infoxlm_keras.pretrained.mixed_precision import without_mixed_precision
from infoxlm_keras.pretrained.model import PretrainedModel
from infoxlm_keras.tokenizer import Tokenizer


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
    with new_directory(directory, replace, contents=MODEL_FOLDER) as temporary:
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
            write_json(directory / name, without_mixed_precision(read_json(directory / name)))
    if model.info is not None:
        write_info(directory, model.info)
    if model.remainder is not None:
        save_remainder(directory, model.remainder)
