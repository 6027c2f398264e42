"""Model files that lie: what a configuration says is compared with the weights' headers before a model is built."""

import json
import resource
import shutil
import struct
import time

import h5py
import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras.conversion.keras_hub_preset import array_shapes, check_preset
from infoxlm_keras.conversion.parameters import encoder_parameters, expected_shapes, head_parameters
from infoxlm_keras.errors import InputError
from infoxlm_keras.pretrained import load_classifier, load_pretrained
from tiny_huggingface import set_config, write_checkpoint

HUGE = 10**12


@pytest.fixture(scope="module")
def huggingface(tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("huggingface")
    write_checkpoint(directory, tokenizer)
    return directory


@pytest.fixture
def checkpoint(huggingface, tmp_path):
    return shutil.copytree(huggingface, tmp_path / "checkpoint")


@pytest.fixture
def preset(tiny_preset, tmp_path):
    return shutil.copytree(tiny_preset, tmp_path / "preset")


def refused(source, load=load_pretrained, seconds=5, megabytes=300):
    """The message, which comes soon and without much memory."""
    start, memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as error:
        load(source)
    assert time.perf_counter() - start < seconds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024 < megabytes
    message = str(error.value)
    assert "\n" not in message and str(source) in message
    return message


# === Hugging Face ===

SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings")
ODD = [0, -3, 2.5, "3", True, None, [3], {"a": 1}, float("nan"), 10**400]


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("value", [5000, HUGE, 10**400])
def test_sizes_beyond_the_tensors(key, value, checkpoint):
    # Heads divide both.
    set_config(checkpoint, **{key: value})
    message = refused(checkpoint)
    assert "asks for" in message or "not whole" in message


@pytest.mark.parametrize("key", [*SIZES, "num_attention_heads"])
@pytest.mark.parametrize("value", ODD, ids=[str(value)[:9] for value in ODD])
def test_odd_values(key, value, checkpoint):
    set_config(checkpoint, **{key: value})
    message = refused(checkpoint)
    # A size that is a whole number is one that the tensors do not have.
    assert key in message or "asks for" in message or "not whole" in message


@pytest.mark.parametrize("key", ["hidden_dropout_prob", "layer_norm_eps", "pad_token_id", "hidden_act", "is_decoder"])
@pytest.mark.parametrize("value", ["x", -1, [], {}, 7, True], ids=str)
def test_odd_settings(key, value, checkpoint):
    if (key, value) == ("is_decoder", True):
        value = "true"
    set_config(checkpoint, **{key: value})
    assert key in refused(checkpoint)


def test_expected_shapes_are_those_of_a_model(huggingface):
    model = load_pretrained(huggingface).masked_lm
    config = model.backbone.get_config()
    parameters = encoder_parameters(model.backbone) + head_parameters(model)
    expected = {parameter.name: parameter.shape for parameter in parameters}
    assert dict(expected_shapes(config, has_head=True)) == expected
    without = dict(expected_shapes(config, has_head=False))
    assert without == {name: shape for name, shape in expected.items() if not name.startswith("lm_head.")}


def _header(length=None, content=None):
    """A change of a safetensors file's header: its length, or its JSON."""

    def change(data):
        (size,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + size])
        body = data[8 + size :]
        text = json.dumps(content(header)).encode() if content else data[8 : 8 + size]
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    return change


def _first(**values):
    def content(header):
        name = next(name for name in header if name != "__metadata__")
        return header | {name: header[name] | values}

    return _header(content=content)


HEADERS = {
    "empty": lambda data: b"",
    "short": lambda data: data[:5],
    "a huge header": _header(length=2**63 - 1),
    "a long header": _header(length=2**31),
    "no JSON": lambda data: data[:8] + b"x" + data[9:],
    "a list": _header(content=lambda header: []),
    "nested": lambda data: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "offsets beyond the end": _first(data_offsets=[0, 2**62]),
    "offsets turned round": _first(data_offsets=[100, 0]),
    "a negative shape": _first(shape=[-1, 16]),
    "a huge shape": _first(shape=[2**40, 2**40]),
    "an unknown dtype": _first(dtype="F99"),
    "text for a shape": _first(shape="16"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_damaged_headers(case, checkpoint):
    path = checkpoint / "model.safetensors"
    path.write_bytes(HEADERS[case](path.read_bytes()))
    assert "model.safetensors" in refused(checkpoint)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.bool_, np.uint16])
def test_dtypes_are_looked_at_first(dtype, checkpoint):
    path = checkpoint / "model.safetensors"
    tensors = safetensors.numpy.load_file(path)
    name = "roberta.embeddings.word_embeddings.weight"
    safetensors.numpy.save_file(tensors | {name: tensors[name].astype(dtype)}, path)
    assert f"{name} has dtype" in refused(checkpoint)


def test_flipped_bytes_of_the_header_are_an_error_or_change_nothing(checkpoint, huggingface):
    data = (huggingface / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    generator = np.random.default_rng(0)
    errors = 0
    for _ in range(60):
        changed = bytearray(data)
        changed[generator.integers(0, 8 + size)] ^= 1 << int(generator.integers(0, 8))
        (checkpoint / "model.safetensors").write_bytes(changed)
        try:
            load_pretrained(checkpoint)
        except InputError:
            errors += 1
    assert errors > 30


# === KerasHub ===

PRESET_SIZES = ("vocabulary_size", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_sequence_length")


def edit(path, *keys, value):
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("file", ["config.json", "task.json"])
@pytest.mark.parametrize("key", PRESET_SIZES)
@pytest.mark.parametrize("value", [1, 5000, HUGE, *ODD], ids=lambda value: str(value)[:9])
def test_preset_sizes(file, key, value, preset):
    place = ("config", key) if file == "config.json" else ("config", "backbone", "config", key)
    edit(preset / file, *place, value=value)
    message = refused(preset)
    assert key in message or "they do not belong together" in message


@pytest.mark.parametrize("value", [True, None, 5, "x", {}, []])
def test_something_else_in_the_preprocessors_place(value, preset):
    edit(preset / "task.json", "config", "preprocessor", value=value)
    try:
        load_pretrained(preset)
    except InputError as error:
        assert str(preset) in str(error) and "cannot be opened" in str(error)


DAMAGED = {
    "config.json": ["", "{", "[]", "7", '{"registered_name": "x"}', '{"registered_name": "x", "config": 5}'],
    "task.json": ["", "{", "[]", "null", '{"class_name": 5, "config": {}}', '{"class_name": "XLMRobertaMaskedLM"}'],
    "tokenizer.json": ["", "{", "[]"],
    "preprocessor.json": ["", "{", "[]"],
    "infoxlm.json": ["", "{", "[]", "7", '{"version": 1}', '{"version": "1", "universal_layer": 1}'],
    "model.weights.h5": ["", "text"],
    "task.weights.h5": ["", "text"],
    "huggingface.safetensors": ["", "text"],
}


@pytest.mark.parametrize(("file", "content"), [(file, content) for file in DAMAGED for content in DAMAGED[file]])
def test_damaged_preset_files(file, content, preset):
    """An error that names the preset, or a load that did not need the file."""
    (preset / file).write_text(content)
    if file in ("tokenizer.json", "preprocessor.json"):
        try:
            load_pretrained(preset)
        except InputError as error:
            assert str(preset) in str(error) and "\n" not in str(error)
        return
    assert file in refused(preset)


@pytest.mark.parametrize("file", ["config.json", "infoxlm.json", "model.weights.h5", "task.json", "task.weights.h5"])
def test_a_directory_or_a_dangling_link_in_a_files_place(file, preset):
    (preset / file).unlink()
    (preset / file).mkdir()
    assert file in refused(preset)
    (preset / file).rmdir()
    (preset / file).symlink_to(preset / "elsewhere")
    assert file in refused(preset)


ODD_INFO = {
    "universal_layer": [99, -1, "1", True, None],
    "pooling": ["median", 5, None, ["cls"]],
    "normalize": ["yes", 1, None],
    "steps": [-1, "3", 1.5],
    "tasks": ["xlco", [1], None],
    "tokenizer_fingerprint": [5, None],
    "data": [[], "x"],
    "settings": [[], None],
    "max_length": [0, "5", 2, True],
    "unknown": [1],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in ODD_INFO for value in ODD_INFO[key]])
def test_odd_history(key, value, preset):
    edit(preset / "infoxlm.json", key, value=value)
    message = refused(preset)
    assert "infoxlm.json" in message and key in message


def test_arrays_that_were_never_written(preset):
    """An HDF5 file may name any size without holding it."""
    edit(preset / "config.json", "config", "vocabulary_size", value=HUGE)
    edit(preset / "task.json", "config", "backbone", "config", "vocabulary_size", value=HUGE)
    with h5py.File(preset / "model.weights.h5", "a") as file:
        place = "layers/token_and_position_embedding/token_embedding/vars"
        del file[f"{place}/0"]
        file.create_dataset(f"{place}/0", (HUGE, 8), "float32", chunks=(1024, 8))
    assert "bytes were written" in refused(preset)


def test_arrays_of_text_or_missing(preset):
    with h5py.File(preset / "model.weights.h5", "a") as file:
        place = "layers/layer_normalization/vars"
        del file[f"{place}/0"]
        file.create_dataset(f"{place}/0", (8,), h5py.string_dtype())
    assert "not numbers" in refused(preset)
    with h5py.File(preset / "model.weights.h5", "a") as file:
        del file[f"{place}/0"]
    assert "arrays of shape (8,)" in refused(preset)


def test_truncated_weights(preset):
    path = preset / "model.weights.h5"
    data = path.read_bytes()
    for size in (10, 500, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:size])
        assert "model.weights.h5" in refused(preset)


def test_a_preset_in_shards(preset):
    """Two files and an index, as KerasHub writes them for large models."""
    shapes = array_shapes(preset / "model.weights.h5")
    with h5py.File(preset / "model.weights.h5") as source:
        for number, names in enumerate([["layer_normalization", "token_and_position_embedding"], None]):
            with h5py.File(preset / f"model_{number:05d}.weights.h5", "w") as part:
                for name in names or [name for name in source["layers"] if name.startswith("transformer_encoder")]:
                    source.copy(f"layers/{name}", part.require_group("layers"))
    (preset / "model.weights.h5").unlink()
    weight_map = {"a": "model_00000.weights.h5", "b": ["model_00001.weights.h5"]}
    (preset / "model.weights.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert check_preset(preset)["num_layers"] == 2
    assert sum(shapes.values()) == 36
    (preset / "model_00001.weights.h5").unlink()
    assert "model_00001.weights.h5" in refused(preset)
    (preset / "model.weights.json").write_text(json.dumps({"weight_map": {"a": "../x.h5"}}))
    assert "'../x.h5'" in refused(preset)


def test_a_classifiers_head(tiny_preset, tmp_path):
    from built_heads import built_classifier

    classifier = built_classifier(load_pretrained(tiny_preset), ["a", "b"], max_length=24)
    classifier.save(tmp_path)
    assert load_classifier(tmp_path)[0].num_classes == 2
    for value in (3, HUGE, "2", 0, None):
        edit(tmp_path / "task.json", "config", "num_classes", value=value)
        message = refused(tmp_path, load_classifier)
        assert "num_classes" in message or "task.weights.h5" in message


def test_another_models_preset(preset):
    edit(preset / "config.json", "class_name", value="BertBackbone")
    assert "BertBackbone" in refused(preset)


def test_what_lies_beside_a_preset_fits_it(preset, huggingface):
    model = load_pretrained(huggingface)
    safetensors.numpy.save_file(model.remainder.tensors, preset / "huggingface.safetensors")
    assert "does not belong to this encoder" in refused(preset)
