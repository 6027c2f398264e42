"""Compares the JSON files of a KerasHub preset with the headers of its weights before a model is built.

KerasHub builds a model of the size that `config.json` names and reads the weights afterwards. A wrong size there
causes hours of building or a failed allocation.
"""

import collections
import math
import os
import pathlib
from typing import Any

from infoxlm_keras.annotations import PathLike
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import parsing, read_json

BACKBONE = "XLMRobertaBackbone"
_SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")
_WEIGHTS = "model.weights.h5"
_SHARDS = "model.weights.json"
_TASK_WEIGHTS = "task.weights.h5"
# Arrays that were never written take almost no space. zlib reaches at most this ratio, so a higher one shows them.
_LARGEST_RATIO = 1100


def check_preset(directory: PathLike) -> dict[str, Any]:
    """Raises InputError unless the preset's configuration is an XLM-R encoder's and the weights have its sizes.

    Args:
        directory: path with `config.json`. Only the headers of the weights are read.

    Returns:
        dict, the backbone's arguments in `config.json`.
    """
    directory = pathlib.Path(directory)
    path = directory / "config.json"
    arguments = backbone_arguments(read_json(path), path)
    _compare(_expected(arguments), _weight_files(directory), path)
    task_path = directory / "task.json"
    if os.path.lexists(task_path):
        _check_task(task_path, arguments)
    return arguments


def task_class_name(directory: PathLike) -> str | None:
    """The class in `task.json` of a preset, str; None if there is no such file.

    Raises:
        InputError: if the file is damaged.
    """
    path = pathlib.Path(directory) / "task.json"
    return _parts(read_json(path), path)[0] if os.path.lexists(path) else None


def backbone_arguments(content: object, path: PathLike) -> dict[str, Any]:
    """The arguments of `XLMRobertaBackbone` in the serialized object `content` of the file `path`, checked.

    Raises:
        InputError: if it is of another class, or a value is out of range.
    """
    class_name, arguments = _parts(content, path)
    if class_name != BACKBONE:
        raise InputError(f"{path}: describes a {class_name}, but only {BACKBONE} is an XLM-R encoder")
    for key in _SIZES:
        value = arguments.get(key, 512 if key == "max_sequence_length" else None)
        if not _is_count(value):
            raise InputError(f"{path}: {key} = {value!r}, but must be a whole number of at least 1")
    if arguments["hidden_dim"] % arguments["num_heads"]:
        raise InputError(
            f"{path}: num_heads = {arguments['num_heads']} does not divide hidden_dim = {arguments['hidden_dim']}"
        )
    dropout = arguments.get("dropout", 0.1)
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise InputError(f"{path}: dropout = {dropout!r}, but must be in [0, 1)")
    return {"max_sequence_length": 512, **arguments}


def _parts(content, path):
    """(class name, configuration) of a serialized Keras object."""
    class_name = content.get("class_name") if isinstance(content, dict) else None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(class_name, str) or not isinstance(config, dict):
        raise InputError(f"{path}: is not a configuration that KerasHub wrote (class_name, config); fetch it again")
    return class_name, config


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _expected(arguments):
    """Number of arrays of each shape in an encoder of these sizes, `collections.Counter` of tuples."""
    dim, inner, heads = (arguments[name] for name in ("hidden_dim", "intermediate_dim", "num_heads"))
    layers, width = arguments["num_layers"], dim // heads
    shapes: collections.Counter[tuple[int, ...]] = collections.Counter()
    for shape, count in (
        ((arguments["vocabulary_size"], dim), 1),
        ((arguments["max_sequence_length"], dim), 1),
        ((dim,), 2 + 6 * layers),
        ((dim, heads, width), 3 * layers),
        ((heads, width), 3 * layers),
        ((heads, width, dim), layers),
        ((dim, inner), layers),
        ((inner,), layers),
        ((inner, dim), layers),
    ):
        shapes[shape] += count
    return shapes


def _weight_files(directory: pathlib.Path) -> list[pathlib.Path]:
    if os.path.lexists(directory / _WEIGHTS):
        return [directory / _WEIGHTS]
    index = directory / _SHARDS
    if not os.path.lexists(index):
        raise InputError(f"{directory}: holds neither {_WEIGHTS} nor {_SHARDS}; fetch the preset again")
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index}: has no weight_map of weights to files")
    names: set[str] = set()
    for value in weight_map.values():
        names.update(map(str, value) if isinstance(value, list) else [str(value)])
    for name in names:
        if pathlib.PurePath(name).name != name:
            raise InputError(f"{index}: names the file {name!r}, which is not beside it")
    return [directory / name for name in sorted(names)]


def _compare(expected, files, config_path):
    """Raises InputError unless `files` hold as many arrays of each of the expected shapes as expected."""
    found: collections.Counter[tuple[int, ...]] = collections.Counter()
    for path in files:
        found += array_shapes(path)
    wrong = [shape for shape, count in expected.items() if found[shape] != count]
    if wrong:
        shape = wrong[0]
        raise InputError(
            f"{files[0]}: holds {found[shape]} arrays of shape {shape}, but {config_path} asks for {expected[shape]}; "
            "they do not belong together, fetch the preset again"
        )


def array_shapes(path: PathLike) -> collections.Counter[tuple[int, ...]]:
    """Number of arrays of each shape in an HDF5 file of weights, `collections.Counter` of tuples.

    Only headers are read. Arrays of an optimizer are not counted.

    Raises:
        InputError: if the file is missing or damaged, or an array holds text or was never written.
    """
    import h5py

    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is not a file' if path.exists() else 'no such file'}; fetch the preset again")
    arrays = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            arrays[name] = (item.shape, item.dtype, item.id.get_storage_size())

    with parsing(path, "an intact HDF5 file of weights", "fetch it again"), h5py.File(path, "r") as file:
        file.visititems(visit)
    for name, (shape, dtype, stored) in arrays.items():
        # Keras stores bfloat16 as two plain bytes; integers are weights of a quantized model.
        if shape is None or dtype.kind not in "fViu" or dtype.hasobject:
            raise InputError(f"{path}: {name} holds {dtype}, not numbers; fetch it again")
        if math.prod(shape) * dtype.itemsize > _LARGEST_RATIO * stored:
            raise InputError(
                f"{path}: {name} has shape {tuple(shape)}, of which {stored} bytes were written; fetch it again"
            )
    return collections.Counter(tuple(shape) for shape, _, _ in arrays.values())


def _check_task(path, arguments):
    """Checks the task's own copy of the encoder's sizes, and the sizes of a classifier's head."""
    class_name, config = _parts(read_json(path), path)
    inner = config.get("backbone")
    if inner is not None:
        own = backbone_arguments(inner, path)
        for key in _SIZES:
            if own[key] != arguments[key]:
                raise InputError(
                    f"{path}: its encoder has {key} = {own[key]}, but config.json says {arguments[key]}; they do not "
                    "belong together, fetch the preset again"
                )
    weights = path.parent / _TASK_WEIGHTS
    dim, vocabulary = arguments["hidden_dim"], arguments["vocabulary_size"]
    if class_name.endswith("TextClassifier"):
        classes, head_dim = config.get("num_classes"), config.get("hidden_dim") or dim
        for key, value in (("num_classes", classes), ("hidden_dim", head_dim)):
            if not _is_count(value):
                raise InputError(f"{path}: {key} = {value!r}, but must be a whole number of at least 1")
        shapes = [(dim, head_dim), (head_dim,), (head_dim, classes), (classes,)]
    elif class_name.endswith("MaskedLM"):
        shapes = [(vocabulary,), (dim, dim), (dim,), (dim,), (dim,)]
    else:
        return
    if os.path.lexists(weights):
        _compare(collections.Counter(shapes), [weights], path)
