"""Converts a model from one format to another, as infoxlm convert-checkpoint does."""

import dataclasses
import pathlib

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.choices import CONVERSION_FORMATS
from infoxlm_keras.conversion.tensor_files import parse_size
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.model_card import model_card, read_results
from infoxlm_keras.exporting.task_models import TaskModel, load_task_model, task_kind
from infoxlm_keras.exporting.to_huggingface import write_huggingface
from infoxlm_keras.exporting.to_keras_hub import write_embedder_preset
from infoxlm_keras.exporting.to_sentence_transformers import write_sentence_transformers
from infoxlm_keras.files import MODEL_FOLDER, new_directory, write_atomically
from infoxlm_keras.files.hub import check_upload, upload
from infoxlm_keras.models.sentence_vector import SentenceVector, sentence_vector, truncated_info
from infoxlm_keras.pretrained import PretrainedModel, load_pretrained, write_info, write_preset
from infoxlm_keras.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        directory: path of the folder written.
        model: the `PretrainedModel` that was read, or the `TaskModel` of a fine-tuned one.
        vector: the `SentenceVector`; None for a whole model.
        size: int, bytes on disk.
    """

    directory: pathlib.Path
    model: PretrainedModel | TaskModel
    vector: SentenceVector | None
    size: int


def convert_checkpoint(
    source: PathLike,
    directory: PathLike,
    format: str = "keras",
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    dtype: str = "float32",
    max_shard_size: str = "5GB",
    results: PathLike | None = None,
    upload_to: str | None = None,
    replace: bool = False,
) -> Conversion:
    """Reads a model and writes it in another format; the directory is written completely or not at all.

    Args:
        source: what `infoxlm_keras.pretrained.load_pretrained` takes.
        directory: str or path to write.
        format: one of `CONVERSION_FORMATS`.
        layer, pooling, normalize: the sentence vector of the formats that have one, see `sentence_vector`.
        dtype: of the weights in safetensors files; presets keep float32.
        max_shard_size: str, largest size of a safetensors file, such as "5GB".
        results: optional path of a JSON file of infoxlm evaluate-retrieval, for the model card.
        upload_to: optional str, `hf://org/name` or `kaggle://...`, where the finished folder is uploaded too.
        replace: bool, overwrite an existing directory.

    Returns:
        `Conversion`.

    Raises:
        InputError: if the source or a setting is invalid; nothing is written then. If only the upload fails,
            the folder stays.
    """
    if format not in CONVERSION_FORMATS:
        raise InputError(f"--format {format}: must be one of {', '.join(CONVERSION_FORMATS)}")
    to_keras = format.startswith("keras")
    if upload_to is not None:
        check_upload(upload_to, to_keras)
    max_shard_bytes = parse_size(max_shard_size)
    measured = None if results is None else read_results(results)
    directory = pathlib.Path(directory)
    with new_directory(directory, replace, contents=MODEL_FOLDER, inputs=[source]) as temporary:
        model = _load(source, format)
        vector = None
        if format == "keras":
            write_preset(temporary, model)
        elif format == "keras-embedder":
            vector = sentence_vector(model, layer, pooling, normalize)
            write_embedder_preset(temporary, model, vector)
        else:
            if format == "sentence-transformers":
                vector = sentence_vector(model, layer, pooling, normalize)
            _write_tensors(temporary, model, vector, dtype, max_shard_bytes)
            # The folder also gets `infoxlm.json`, so that a conversion back restores it.
            if model.info is not None:
                write_info(temporary, model.info if vector is None else truncated_info(model.info, vector))
            write_atomically(temporary / "README.md", model_card(model, vector, measured))
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if upload_to is not None:
        upload(directory, upload_to, to_keras)
    return Conversion(directory, model, vector, size)


def _load(source, format):
    kind = task_kind(source)
    if kind is not None and format == "hf":
        return load_task_model(source)
    if kind is not None:
        print(
            f"note: {source}: is a {kind}; --format {format} holds the encoder only: the head is left out; --format "
            "hf keeps it"
        )
    with progress_bar("reading", unit="parameters") as advance:
        return load_pretrained(source, dtype="float32", progress=lambda amount, total: advance(0, units=amount))


def _write_tensors(directory, model, vector, dtype, max_shard_bytes):
    with progress_bar("writing", unit="bytes") as advance:
        options = {
            "dtype": dtype,
            "max_shard_bytes": max_shard_bytes,
            "progress": lambda amount: advance(0, units=amount),
        }
        if vector is None:
            write_huggingface(directory, model, **options)
        else:
            write_sentence_transformers(directory, model, vector, **options)
