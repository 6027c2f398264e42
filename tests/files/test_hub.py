"""Hugging Face's and Kaggle's hubs, by their own libraries; no network is needed."""

import ast
import pathlib
import shutil

import huggingface_hub
import keras_hub
import numpy as np
import pytest

import tiny_huggingface
from built_heads import built_classifier
from infoxlm_keras.choices import CONVERSION_FORMATS
from infoxlm_keras.commands import drop_layers, extend_vocabulary, trim_vocabulary
from infoxlm_keras.conversion.tokenizers import load_tokenizer
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.files import hub
from infoxlm_keras.finetuning import (
    load_question_answering,
    load_text_classifier,
    load_token_classification,
    read_labels,
    save_question_answering,
    save_token_classification,
)
from infoxlm_keras.models import QuestionAnswering, TokenClassification
from infoxlm_keras.pretrained import load_pretrained, save_pretrained
from repository import REPOSITORY
from sample_text import sentences

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


def saved_by_extend_vocabulary(directory, preset, text):
    extend_vocabulary.main(["--model", preset, "--input", text, "--add", "2", "--output_dir", str(directory)])


def saved_by_trim_vocabulary(directory, preset, text):
    trim_vocabulary.main(["--model", preset, "--input", text, "--output_dir", str(directory)])


def saved_by_drop_layers(directory, preset, text):
    drop_layers.main(["--model", preset, "--layers", "1", "--output_dir", str(directory)])


def saved_by_conversion(directory, preset, text):
    for format in CONVERSION_FORMATS:
        convert_checkpoint(preset, directory / format, format)


def saved_by_save_pretrained(directory, preset, text):
    model = load_pretrained(preset)
    save_pretrained(directory, model.masked_lm, model.tokenizer, model.info)


def saved_by_save_question_answering(directory, preset, text):
    model = load_pretrained(preset)
    save_question_answering(directory, QuestionAnswering(model.backbone), model.tokenizer)


def saved_by_save_token_classification(directory, preset, text):
    model = load_pretrained(preset)
    save_token_classification(directory, TokenClassification(model.backbone, 2), model.tokenizer, ["O", "B-X"])


def saved_by_fine_tuning(directory, preset, text):
    """A classifier: the other heads write what a function of this table writes."""
    directory.mkdir()
    built_classifier(load_pretrained(preset), ["no", "yes"]).save(directory)


# Every function that writes the folder of a model, and what calls it here.
WRITERS = {
    "commands/drop_layers.py:main": saved_by_drop_layers,
    "commands/extend_vocabulary.py:main": saved_by_extend_vocabulary,
    "commands/trim_vocabulary.py:main": saved_by_trim_vocabulary,
    "exporting/convert.py:convert_checkpoint": saved_by_conversion,
    "finetuning/loop.py:_saved_and_measured": saved_by_fine_tuning,
    "finetuning/question_answering.py:save_question_answering": saved_by_save_question_answering,
    "finetuning/token_classification.py:save_token_classification": saved_by_save_token_classification,
    "pretrained/saving.py:save_pretrained": saved_by_save_pretrained,
}
# Files for other programs, which nothing here opens as a model.
EXPORTS = {"exporting/to_onnx.py:export_onnx", "exporting/to_litert.py:export_litert"}


def functions_that_write_models():
    """`file:function` of each call of `new_directory` with `contents=MODEL_FOLDER` in the package."""
    package = REPOSITORY / "infoxlm_keras"
    for path in package.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and "contents=MODEL_FOLDER" in ast.unparse(function):
                yield f"{path.relative_to(package).as_posix()}:{function.name}"


def test_every_writer_of_models_is_tested():
    assert {*functions_that_write_models()} == WRITERS.keys() | EXPORTS


@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_written_here_is_fetched(writer, tiny_preset, tmp_path):
    """All of it but the page for readers, by the hub's own rule."""
    (tmp_path / "en.txt").write_text("\n".join([*sentences("en", 60), "zzyzx zzyzx zzyzx"]), encoding="utf-8")
    WRITERS[writer](tmp_path / "model", str(tiny_preset), str(tmp_path / "en.txt"))
    models = [tmp_path / "model"] if (tmp_path / "model/metadata.json").exists() else (tmp_path / "model").iterdir()
    for model in models:
        names = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
        fetched = set(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=list(hub.MODEL_FILES)))
        assert names - fetched <= {"README.md"}, model
        tokenizer = huggingface_hub.utils.filter_repo_objects(names, allow_patterns=list(hub.TOKENIZER_FILES))
        assert {path.rpartition("/")[2] for path in tokenizer} & {"vocabulary.spm", "sentencepiece.bpe.model"}, model


def put_on_the_hub(cache, name, write, preset):
    """Writes a model to the snapshot of `org/NAME` in the cache."""
    root = cache / f"models--org--{name}"
    (root / "refs").mkdir(parents=True)
    (root / "refs/main").write_text(COMMIT)
    (root / "snapshots").mkdir()
    write(root / "snapshots" / COMMIT, str(preset), "")
    return f"hf://org/{name}"


def test_fine_tuned_models_on_the_hub_keep_their_labels(offline, cache, tiny_preset):
    tagger = put_on_the_hub(cache, "tagger", saved_by_save_token_classification, tiny_preset)
    assert load_token_classification(tagger)[2] == ["O", "B-X"]
    answering = put_on_the_hub(cache, "qa", saved_by_save_question_answering, tiny_preset)
    assert load_question_answering(answering)[0].backbone.hidden_dim == 8
    classifier = put_on_the_hub(cache, "classifier", saved_by_fine_tuning, tiny_preset)
    assert load_text_classifier(classifier).labels == read_labels(classifier) == ["no", "yes"]
    asked = {name for _, options in offline for name in options["allow_patterns"]}
    assert "labels.json" in asked


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
