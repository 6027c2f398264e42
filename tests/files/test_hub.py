"""Hugging Face's and Kaggle's hubs, by their own libraries; no network is needed."""

import pathlib
import shutil

import huggingface_hub
import keras_hub
import numpy as np
import pytest

import tiny_huggingface
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.files import hub
from infoxlm_keras.pretrained import load_pretrained

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def cache(tokenizer, tiny_preset, tmp_path_factory):
    """A cache as huggingface_hub lays it out: a model of transformers, a preset of ours, and a pickle."""
    root = tmp_path_factory.mktemp("cache")
    for name in ("models--org--transformers", "models--org--preset", "models--org--pickle"):
        (root / name / "refs").mkdir(parents=True)
        (root / name / "refs" / "main").write_text(COMMIT)
        (root / name / "snapshots").mkdir()
    shutil.copytree(tiny_preset, root / "models--org--preset" / "snapshots" / COMMIT)
    for name in ("transformers", "pickle"):
        directory = root / f"models--org--{name}" / "snapshots" / COMMIT
        directory.mkdir()
        tiny_huggingface.write_checkpoint(directory, tokenizer)
    (directory / "model.safetensors").unlink()
    return root


@pytest.fixture
def offline(cache, monkeypatch):
    """huggingface_hub with that cache and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    original = huggingface_hub.snapshot_download
    asked = []

    def snapshot_download(repository, **options):
        asked.append((repository, options))
        return original(repository, cache_dir=cache, **options)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


@pytest.mark.parametrize("source", ["hf://org/transformers", "org/transformers", f"org/transformers@{COMMIT}"])
def test_a_model_of_transformers(source, offline, cache):
    expected = load_pretrained(cache / "models--org--transformers" / "snapshots" / COMMIT)
    actual = load_pretrained(source)
    for one, other in zip(actual.masked_lm.weights, expected.masked_lm.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    ((repository, options),) = offline
    assert repository == "org/transformers"
    assert options["revision"] == (COMMIT if "@" in source else None)


def test_pickles_and_other_frameworks_are_not_fetched(offline):
    from fnmatch import fnmatch

    load_pretrained("org/transformers")
    patterns = offline[0][1]["allow_patterns"]

    def fetched(name):
        return any(fnmatch(name, pattern) for pattern in patterns)

    wanted = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
    wanted += ["sentencepiece.bpe.model", "tokenizer.json", "infoxlm.json", "1_Pooling/config.json"]
    wanted += ["task.json", "model.weights.h5", "task.weights.h5", "assets/tokenizer/vocabulary.spm"]
    assert all(map(fetched, wanted))
    unwanted = [
        "pytorch_model.bin",
        "tf_model.h5",
        "flax_model.msgpack",
        "onnx/model.onnx",
        "model.pt",
        "rust_model.ot",
    ]
    assert not any(map(fetched, [*unwanted, "onnx/model.safetensors", "README.md"]))


def test_a_preset_on_the_hub(offline, tiny_preset):
    model = load_pretrained("hf://org/preset")
    assert model.has_head and model.info == load_pretrained(tiny_preset).info


def test_a_tokenizer_alone(offline, tokenizer):
    assert load_tokenizer("org/transformers").fingerprint == tokenizer.fingerprint
    assert load_tokenizer("hf://org/preset").fingerprint == tokenizer.fingerprint
    assert "model*.safetensors" not in offline[0][1]["allow_patterns"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("org/pickle", ["no model.safetensors", "pytorch_model.bin", "weights_only=True"]),
        ("hf://org/nothing", ["hf://org/nothing", "cannot be fetched"]),
        ("org/nothing", ["org/nothing", "is not a directory here, and cannot be fetched"]),
        ("org/transformers@other", ["org/transformers@other", "cannot be fetched"]),
        ("hf://one", ["hf://one", "cannot be fetched"]),
        ("a/b/c", ["a/b/c", "no such directory"]),
        ("./org/transformers", ["no such directory"]),
        ("/org/transformers", ["no such directory"]),
        ("no_such_preset", ["no_such_preset"]),
        ("kaggle://user", ["kaggle://user", "cannot be opened"]),
    ],
)
def test_refused(source, words, offline):
    with pytest.raises(InputError) as error:
        load_pretrained(source)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_directory_here_goes_before_a_repository(tmp_path, monkeypatch):
    """runs/modle, mistyped, is not looked for on a hub; `org/name` is what `org` is no directory for."""
    monkeypatch.chdir(tmp_path)
    pathlib.Path("runs").mkdir()
    assert not hub.is_repository("runs/modle")
    assert hub.is_repository("org/name")
    with pytest.raises(InputError, match="runs/modle: no such directory"):
        load_pretrained("runs/modle")


def test_without_huggingface_hub(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install infoxlm_keras\[hf\]"):
        hub.download("org/name")


# === Upload ===


def test_a_folder_goes_to_hugging_face(tmp_path, monkeypatch):
    calls = []

    class Created:
        repo_id = "me/org-name"

    monkeypatch.setattr(
        huggingface_hub, "create_repo", lambda repo_id, exist_ok: calls.append((repo_id, exist_ok)) or Created
    )
    monkeypatch.setattr(
        huggingface_hub, "upload_folder", lambda repo_id, folder_path: calls.append((repo_id, folder_path))
    )
    hub.upload(tmp_path, "hf://me/name", to_keras=False)
    assert calls == [("me/name", True), ("me/org-name", str(tmp_path))]


@pytest.mark.parametrize("uri", ["hf://me/name", "kaggle://me/infoxlm/keras/base"])
def test_a_preset_goes_by_way_of_kerashub(uri, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(keras_hub, "upload_preset", lambda uri, preset: calls.append((uri, preset)))
    hub.upload(tmp_path, uri, to_keras=True)
    assert calls == [(uri, str(tmp_path))]


def test_a_refused_upload_says_so(tmp_path, monkeypatch):
    def refuse(**options):
        raise OSError("401 Client Error: log in")

    monkeypatch.setattr(huggingface_hub, "create_repo", lambda repo_id, exist_ok: refuse())
    with pytest.raises(InputError, match=r"hf://me/name: cannot be uploaded to \(401 Client Error.*is complete"):
        hub.upload(tmp_path, "hf://me/name", to_keras=False)


@pytest.mark.parametrize(
    ("uri", "to_keras", "words"),
    [
        ("kaggle://me/infoxlm/keras/base", False, "KerasHub presets"),
        ("kaggle://me/infoxlm", True, "kaggle://user/model/keras/variation"),
        ("kaggle://me/infoxlm/pytorch/base", True, "kaggle://user/model/keras/variation"),
        ("hf://name", False, "hf://org/name"),
        ("hf://me/name@main", False, "hf://org/name"),
        ("me/name", False, "hf://org/name"),
        ("s3://bucket", True, "hf://org/name"),
    ],
)
def test_places_that_take_no_upload(uri, to_keras, words, tmp_path):
    with pytest.raises(InputError) as error:
        hub.upload(tmp_path, uri, to_keras)
    assert words in str(error.value) and uri in str(error.value)
