"""Exports a model to a versioned SavedModel directory, as TensorFlow Serving loads it.

    output_dir/models.config, batching_parameters.txt
    output_dir/1/saved_model.pb, variables/, assets/, assets.extra/infoxlm.json, .../tf_serving_warmup_requests,
    .../checksums.json (of all files but infoxlm.json and itself)

A version appears only after it is complete and checked, because a server that watches `output_dir` loads it
immediately.
"""

import contextlib
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import new_directory, without_wildcards, write_json
from infoxlm_keras.files.disk_room import check_sizes
from infoxlm_keras.serving.checksums import checksums
from infoxlm_keras.serving.heads.classification import ClassifierModule
from infoxlm_keras.serving.heads.embedding import EmbeddingModule
from infoxlm_keras.serving.heads.masked_lm import MaskedLMModule
from infoxlm_keras.serving.heads.question_answering import QuestionAnsweringModule
from infoxlm_keras.serving.heads.tagging import TaggingModule
from infoxlm_keras.serving.saved_model import CHECKSUMS_FILE
from infoxlm_keras.serving.server_files import check_model_name, write_server_files
from infoxlm_keras.serving.verification import verify_export
from infoxlm_keras.serving.versions import default_model_name, version_directory
from infoxlm_keras.serving.warmup import can_write_warmup, write_warmup
from infoxlm_keras.system_errors import system_error_within

if TYPE_CHECKING:
    import keras_hub

    from infoxlm_keras.models.question_answering import QuestionAnswering
    from infoxlm_keras.models.token_classification import TokenClassification
    from infoxlm_keras.pretrained import PretrainedModel
    from infoxlm_keras.serving.serving_module import ServingModule
    from infoxlm_keras.tokenizer import Tokenizer

FACTS_FILE = "assets.extra/infoxlm.json"


@dataclasses.dataclass(frozen=True)
class Export:
    """The result of an export.

    Attributes:
        directory: path of the version, `output_dir/N`.
        facts: dict, the content of its `assets.extra/infoxlm.json`.
        size: int, bytes on disk.
        max_difference: float, largest difference of an output from the Keras model's; None if not verified.
        warmup_records: int, requests in the warm-up file; None if tensorflow-serving-api is not installed.
    """

    directory: pathlib.Path
    facts: dict[str, Any]
    size: int
    max_difference: float | None
    warmup_records: int | None = None


def export_embedding(
    model: "PretrainedModel",
    output_dir: PathLike,
    layer: int | None = None,
    pooling: str | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
    version: int | None = None,
    verify: bool = True,
    storage: str = "float32",
    dimensions: int | None = None,
    vectors: str | None = None,
) -> Export:
    """Exports the sentence-vector head: `text` string [batch] -> `embedding` float32 [batch, dim].

    Args:
        model: `infoxlm_keras.pretrained.PretrainedModel`.
        output_dir: str or path, the directory that holds all versions.
        layer: int, hidden state 0..L to pool; layers above it are not exported. None: the universal layer.
        pooling: "cls", "mean" or "max"; None: as trained.
        normalize: bool, unit vectors; None: as trained, see `EmbeddingModule`.
        max_length: int, longest sequence in tokens, longer text is cut; None: all positions of the model.
        version: int, name of the version directory; None: one more than the highest there.
        verify: bool, compare the SavedModel with the Keras model in a fresh process before the version
            appears.
        storage: how weights are stored, one of `infoxlm_keras.serving.stored_weights.STORAGES`.
        dimensions: int, only the first dimensions of a vector, which are then what is scaled; None: all.
        vectors: "float32", "int8" or "binary", the type of `embedding` (`infoxlm_keras.serving.vector_types`).

    Returns:
        `Export`.

    Raises:
        InputError: if a value is out of range, or the version exists.
        OSError: if the disk has no room for it; nothing is written then.
        RuntimeError: if the outputs of the SavedModel differ from the model's; nothing is written then.
    """
    module = EmbeddingModule(model, layer, pooling, normalize, max_length, storage, dimensions, vectors)
    return export_module(module, version_directory(output_dir, version), verify)


def export_masked_lm(
    model: "PretrainedModel",
    output_dir: PathLike,
    top_k: int = 5,
    max_length: int | None = None,
    version: int | None = None,
    verify: bool = True,
    storage: str = "float32",
) -> Export:
    """Exports the masked-LM head: `text` with `<mask>` -> candidates for each mask (see `MaskedLMModule`).

    Arguments, result and errors as in `export_embedding`; `top_k` is the number of candidates for each mask.
    """
    module = MaskedLMModule(model, top_k, max_length, storage)
    return export_module(module, version_directory(output_dir, version), verify)


def export_classifier(
    classifier: "keras_hub.models.XLMRobertaTextClassifier",
    tokenizer: "Tokenizer",
    output_dir: PathLike,
    max_length: int | None = None,
    version: int | None = None,
    verify: bool = True,
    storage: str = "float32",
    labels: list[str] | None = None,
) -> Export:
    """Exports a fine-tuned classifier: `text` -> `probabilities` float32 [batch, classes], with `labels` named.

    `classifier` is a `keras_hub.models.XLMRobertaTextClassifier`, `tokenizer` an
    `infoxlm_keras.tokenizer.Tokenizer`, `labels` a list of str (see `ClassifierModule`); other arguments, result and
    errors as in `export_embedding`.
    """
    module = ClassifierModule(classifier, tokenizer, max_length, storage, labels)
    return export_module(module, version_directory(output_dir, version), verify)


def export_question_answering(
    model: "QuestionAnswering",
    tokenizer: "Tokenizer",
    output_dir: PathLike,
    max_length: int | None = None,
    version: int | None = None,
    verify: bool = True,
    storage: str = "float32",
    **options: Any,
) -> Export:
    """Exports a question-answering model: `question`, `context` -> `answer` (see `QuestionAnsweringModule`).

    `model` is an `infoxlm_keras.models.QuestionAnswering`, `options` are those of `QuestionAnsweringModule`; other
    arguments, result and errors as in `export_embedding`.
    """
    module = QuestionAnsweringModule(model, tokenizer, max_length, storage=storage, **options)
    return export_module(module, version_directory(output_dir, version), verify)


def export_tagging(
    model: "TokenClassification",
    tokenizer: "Tokenizer",
    labels: list[str],
    output_dir: PathLike,
    max_length: int | None = None,
    version: int | None = None,
    verify: bool = True,
    storage: str = "float32",
) -> Export:
    """Exports a tagger: `text` -> `words`, `tags`, `score` and places [batch, words] (see `TaggingModule`).

    `model`, `tokenizer` and `labels` are what `infoxlm_keras.finetuning.load_token_classification` returns; other
    arguments, result and errors as in `export_embedding`.
    """
    module = TaggingModule(model, tokenizer, labels, max_length, storage)
    return export_module(module, version_directory(output_dir, version), verify)


def export_module(
    module: "ServingModule",
    directory: pathlib.Path,
    verify: bool = True,
    model_name: str | None = None,
    tokens_only: bool = False,
) -> Export:
    """Writes a `ServingModule` to `directory`, complete and checked, or not at all.

    Args:
        module: `ServingModule`.
        directory: path of a version, `output_dir/N`.
        verify: bool, see `export_embedding`.
        model_name: str, name of the model at a server, in the files beside the version; None: that of `output_dir`.
        tokens_only: bool, leave out the signatures on strings, so that the file has no operation of tensorflow_text.

    Returns:
        `Export`.

    Raises:
        InputError: if `tokens_only` is asked of a head that answers strings, or a server cannot have the name.
    """
    if tokens_only and module.needs_strings:
        raise InputError(
            f"tokens_only: the {module.head} head answers strings, which need SentencePiece ops; leave it out"
        )
    module.tokens_only = tokens_only
    facts = module.facts()
    model_name = model_name or default_model_name(directory.parent)
    check_model_name(model_name)
    records = max_difference = None
    with _system_errors(directory), new_directory(directory) as temporary:
        check_sizes(temporary, [_variables_size(module)])
        with without_wildcards(temporary) as plain:
            _save(module, plain)
            if can_write_warmup():
                records = write_warmup(plain, module, model_name)
        write_checksums(temporary)
        write_json(temporary / FACTS_FILE, facts)
        if verify:
            max_difference = verify_export(module, temporary)
        write_server_files(directory.parent, model_name)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    return Export(directory, facts, size, max_difference, records)


def _variables_size(module):
    """int: bytes that the variables of a `ServingModule` take in a SavedModel, at least."""
    return sum(variable.dtype.size * variable.shape.num_elements() for variable in module.variables)


def _save(module, directory):
    whole = module
    if module.tokens_only:
        # Saves the weights without the tokenizer, because a server resolves every operation in the file, even unused
        # ones.
        whole = tf.Module()
        whole.weights = list(module.variables)
    tf.saved_model.save(whole, directory, signatures=module.exported(module.signatures()))


@contextlib.contextmanager
def _system_errors(directory):
    """Raises TensorFlow's own errors about a full disk as `OSError` with `directory` as its file."""
    try:
        yield
    except tf.errors.OpError as error:
        found = system_error_within(error)
        if found is None:
            raise
        raise OSError(found.errno, found.strerror, str(directory)) from None


def write_checksums(directory: pathlib.Path) -> None:
    """Writes `assets.extra/checksums.json` of a SavedModel, which `load_saved_model` compares with."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    names = [path.relative_to(directory).as_posix() for path in files]
    write_json(directory / CHECKSUMS_FILE, {"version": 1, "files": checksums(directory, names)})
