"""Fine-tuning a classifier: learned in one language, measured in all, saved with its labels, served on strings."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from built_heads import built_classifier
from infoxlm_keras.command_line import run_command
from infoxlm_keras.commands import finetune, finetune_classification, finetune_embedding
from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning import (
    ClassificationHead,
    ClassificationSettings,
    LabelledTexts,
    TextClassifier,
    classification,
    load_text_classifier,
    loop,
    read_labelled_texts,
    transfer_gap,
)
from infoxlm_keras.finetuning.classification import encode
from infoxlm_keras.finetuning.loop import FineTuningRun
from infoxlm_keras.finetuning.run_output import FineTuningOutput
from infoxlm_keras.models import with_dropout
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, save_pretrained
from infoxlm_keras.serving import ClassifierModule, export_classifier
from running import refused, run, tree
from sample_text import sentences
from tiny_export import TEXTS, tiny_classifier

SETTINGS = ["--max_length", 16, "--batch_size", 16, "--learning_rate", 0.02, "--epochs", 6, "--dropout", 0]
SETTINGS += ["--no-jit_compile"]


def write_samples(path, languages, count, start=0):
    """Pairs of sentences: `same` where the second begins as the first does, else `other`."""
    lines = ["language\tlabel\tsentence1\tsentence2"]
    for language in languages:
        for number, text in enumerate(sentences(language, count, start)):
            label = ("same", "other")[number % 2]
            lines.append(f"{language}\t{label}\t{text}\t{'door open' if label == 'same' else 'river river'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def kerashub_inputs(preprocessor, first, second):
    """What KerasHub's preprocessor makes of pairs; not by calling it, since that takes a tuple for (x, y)."""
    if not preprocessor.built:
        preprocessor.build(None)
    return preprocessor.call((tf.constant(first), tf.constant(second)))


@pytest.fixture(scope="module")
def preset(tiny_masked_lm, tokenizer, tmp_path_factory):
    directory = tmp_path_factory.mktemp("preset") / "model"
    save_pretrained(directory, tiny_masked_lm, tokenizer, PretrainingInfo(universal_layer=1))
    return directory


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("samples")
    return {
        "train": write_samples(root / "train.tsv", ["en"], 96),
        "dev": write_samples(root / "dev.tsv", ["en", "de"], 20, 100),
        "test": write_samples(root / "test.tsv", ["en", "de", "ru"], 20, 200),
    }


@pytest.fixture(scope="module")
def finished(preset, files, tmp_path_factory):
    output = tmp_path_factory.mktemp("finetuned") / "run"
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    run(finetune_classification.main, "--model", preset, *options, "--output_dir", output, *SETTINGS)
    return output


def test_what_is_learned_is_measured_in_all_languages(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["labels"] == ["other", "same"] and results["training"] == {"en": 96}
    assert results["samples"] == {"de": 20, "en": 20, "ru": 20} and results["measured_on"] == "test"
    accuracy = results["accuracy"]
    assert accuracy["en"] >= 0.9  # the second sentence says it all; guessing gives 0.5
    assert results["mean"] == pytest.approx(np.mean(list(accuracy.values())))
    assert results["transfer_gap"] == pytest.approx(accuracy["en"] - (accuracy["de"] + accuracy["ru"]) / 2)
    measures = results["evaluations"]
    assert [measure["epoch"] for measure in measures] == [1, 2, 3, 4, 5, 6]
    assert measures[-1]["loss"] < measures[0]["loss"] / 2 and set(measures[0]["development"]) == {"de", "en"}
    assert (finished / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_preset_is_the_best_updates_and_opens_in_kerashub(finished, files):
    results = json.loads((finished / "results.json").read_text())
    classifier = load_text_classifier(finished / "model")
    development = classifier.accuracies(read_labelled_texts([files["dev"]]))
    best = max(results["evaluations"], key=lambda measure: measure["development_mean"])
    assert development == best["development"] and results["update"] == best["update"]
    test = read_labelled_texts([files["test"]])
    assert classifier.accuracies(test) == results["accuracy"]
    # Strings through KerasHub's own preprocessing give the same logits.
    task = keras_hub.models.XLMRobertaTextClassifier.from_preset(str(finished / "model"))
    inputs = kerashub_inputs(task.preprocessor, *test[0].texts)
    expected = np.asarray(classifier.model(classifier.inputs(test[0].texts), training=False))
    np.testing.assert_allclose(task(inputs), expected, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_run(preset, files, finished, tmp_path):
    options = ["--train", files["train"], "--dev", files["dev"], "--test", files["test"]]
    run(finetune_classification.main, "--model", preset, *options, "--output_dir", tmp_path / "run", *SETTINGS)
    again, first = (json.loads((path / "results.json").read_text()) for path in (tmp_path / "run", finished))
    assert again == first


def test_a_run_that_is_there_is_not_written_over(preset, files, finished, capsys):
    before = tree(finished)
    options = ["--model", preset, "--train", files["train"], "--dev", files["dev"], "--output_dir", finished]
    assert "holds a trained model already" in refused(capsys, finetune_classification.main, *options)
    assert tree(finished) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--dev and --test: give at least one"),
        (["--dev", "{single}"], "holds single texts, but the training data pairs of texts"),
        (["--dev", "{dev}", "--epochs", "0"], "epochs = 0: must be at least 1"),
        (["--dev", "{dev}", "--max_length", "4000"], "max_length = 4000: the model has"),
        (["--dev", "{dev}", "--train_languages", "sw"], "no labelled sample of sw"),
        (
            ["--dev", "{unknown}"],
            "unknown.en.tsv: line 2: label 'maybe' is not one of the training data's: other, same",
        ),
        (
            ["--test", "{unknown}"],
            "unknown.en.tsv: line 2: label 'maybe' is not one of the training data's: other, same",
        ),
        (["--dev", "{dev}", "--max_train_samples", "1"], "labels = ['same']: a classifier needs at least two"),
    ],
)
def test_refused(preset, files, tmp_path, capsys, options, message):
    (tmp_path / "single.en.tsv").write_text("label\ttext\nsame\tx\n")
    (tmp_path / "unknown.en.tsv").write_text("label\tsentence1\tsentence2\nmaybe\tx\ty\n")
    names = {
        "dev": files["dev"],
        "single": tmp_path / "single.en.tsv",
        "unknown": tmp_path / "unknown.en.tsv",
    }
    options = [option.format(**names) for option in options]
    command = ["--model", preset, "--train", files["train"], "--output_dir", tmp_path / "run", *options]
    assert message in refused(capsys, finetune_classification.main, *command)
    assert not (tmp_path / "run").exists()


def test_gradients_that_are_not_finite_end_the_run(tokenizer, tiny_masked_lm, tmp_path):
    part = LabelledTexts("en", [sentences("en", 16)], ["a", "b"] * 8, files=["x"])
    settings = ClassificationSettings(epochs=1, batch_size=4, max_length=16, jit_compile=False)

    def load():
        # A copy: the model is trained.
        model = with_dropout(tiny_masked_lm, 0.2)
        model.set_weights([np.full(weight.shape, 1e20) for weight in model.weights])
        return PretrainedModel(model, tokenizer, None)

    run = FineTuningRun(ClassificationHead([part]), load, settings, tmp_path / "run")
    with pytest.raises(InputError, match="updates 1..4: gradients were not finite 4 times in a row; lower learning_r"):
        run.train()


@pytest.mark.parametrize(
    ("training", "expected"),
    [(["en"], 0.9 - (0.7 + 0.5) / 2), (["en", "de"], None), (["fr"], None)],
)
def test_transfer_gap(training, expected):
    gap = transfer_gap({"en": 0.9, "de": 0.7, "sw": 0.5}, training)
    assert gap == (None if expected is None else pytest.approx(expected))
    assert transfer_gap({"en": 0.9}, ["en"]) is None


def test_served_pairs_are_cut_where_kerashub_cuts_them(tiny_masked_lm, tokenizer, tmp_path):
    classifier = tiny_classifier(tiny_masked_lm.backbone, tokenizer)
    texts = [text if isinstance(text, str) else text.decode(errors="replace") for text in TEXTS]
    texts += [" ".join(sentences("en", 30)), "x", " ".join(sentences("ru", 30)), ""]
    for length in (8, 9, 16):
        preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
            classifier.preprocessor.tokenizer, sequence_length=length
        )
        module = ClassifierModule(classifier, tokenizer, length)
        for pairs in (texts[::-1], texts[1:] + texts[:1]):
            token_ids, padding_mask = module.text_to_ids.pairs(tf.constant(texts), tf.constant(pairs))
            expected = kerashub_inputs(preprocessor, texts, pairs)
            width = token_ids.shape[1]
            np.testing.assert_array_equal(token_ids, expected["token_ids"][:, :width])
            np.testing.assert_array_equal(padding_mask, np.array(expected["padding_mask"])[:, :width])
            assert not np.array(expected["padding_mask"])[:, width:].any()
            ours = encode(tokenizer, [texts, pairs], length)["token_ids"]
            np.testing.assert_array_equal(ours, np.array(expected["token_ids"])[:, : ours.shape[1]])


@pytest.mark.usefixtures("forked_verification")
def test_a_fine_tuned_preset_is_served_as_keras_predicts(finished, files, tmp_path):
    classifier = load_text_classifier(finished / "model")
    directory = export_classifier(classifier.model, classifier.tokenizer, tmp_path, max_length=16).directory
    signature = tf.saved_model.load(str(directory)).signatures["pairs"]
    part = read_labelled_texts([files["test"]])[0]
    served = signature(text=tf.constant(part.texts[0]), text_pair=tf.constant(part.texts[1]))["probabilities"]
    logits = np.asarray(classifier.model(classifier.inputs(part.texts), training=False))
    np.testing.assert_allclose(served, tf.nn.softmax(logits), rtol=0, atol=1e-5)


@pytest.fixture
def quick(preset, files, tmp_path, monkeypatch):
    """Options of a run whose training is skipped (it is compiled for seconds): the tests are about what follows."""
    monkeypatch.setattr(FineTuningRun, "_fit", lambda run, start, restored: (None, run.updates))
    options = ["--model", preset, "--train", files["train"], "--test", files["test"], "--max_train_samples", 8]
    return [*options, "--max_length", 16, "--epochs", 1, "--batch_size", 8, "--output_dir", tmp_path / "run"]


def refused_before_training(monkeypatch, capsys, *options):
    def trained(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(finetune, "load_pretrained", trained)
    return refused(capsys, finetune_classification.main, *options)


def test_all_that_can_be_checked_is_checked_before_the_model_is_loaded(quick, files, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    (tmp_path / "unknown.en.tsv").write_text("label\tsentence1\tsentence2\nsame\tx\ty\nmaybe\tx\ty\n")
    message = refused_before_training(monkeypatch, capsys, *quick, "--dev", tmp_path / "unknown.en.tsv")
    assert "unknown.en.tsv: line 3: label 'maybe'" in message
    assert "at least two in its training" in refused_before_training(
        monkeypatch, capsys, *quick, "--max_train_samples", 1
    )
    twice = ["--dev", files["dev"], files["dev"]]
    assert "is given 2 times" in refused_before_training(monkeypatch, capsys, *quick, *twice)
    for name in ("model", "results.json", "accuracy.png"):
        output.mkdir()
        (output / name).mkdir() if name != "model" else (output / name).touch()
        assert f"{output / name}: is " in refused_before_training(monkeypatch, capsys, *quick, "--overwrite")
        shutil.rmtree(output)
    output.touch()
    assert f"{output}: is not a directory" in refused_before_training(monkeypatch, capsys, *quick)


def test_files_that_are_joined_are_named(tmp_path):
    files = [tmp_path / name for name in ("x.fra.tsv", "x.fra-CA.tsv", "x.de.tsv")]
    for file in files:
        file.write_text("label\ttext\na\tx\nb\ty\n")
    texts = read_labelled_texts(files)
    head = classification.ClassificationHead(read_labelled_texts(files[2:]), test=texts)
    assert head.notes() == [f"note: test in fr joins 2 files: {files[0]}, {files[1]}"]


def test_no_room_for_the_model_is_told_before_training(quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=1000))
    monkeypatch.setattr(FineTuningRun, "_fit", None)
    assert "two checkpoints, but 0.0 MB are free" in refused(capsys, finetune_classification.main, *quick)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize(
    ("option", "known", "places"),
    [
        ("--dev", "train", "--train and in --dev"),
        ("--dev", "test", "--dev and in --test"),
        ("--test", "train", "--train and in --test"),
    ],
)
def test_a_file_of_two_options_is_refused(link, option, known, places, quick, files, tmp_path, monkeypatch, capsys):
    path = files[known]
    if link is not None:
        path = tmp_path / "other.tsv"
        link(files[known], path)
    message = refused_before_training(monkeypatch, capsys, *quick, option, path)
    assert f"is given in {places}" in message and str(files[known]) in message


def test_files_that_readers_find_are_kept_apart(tmp_path, tiny_preset, capsys):
    """In a folder, and behind the name of a pair."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "x.en-de.tsv").write_text("a house\tein Haus\nthe river\tder Fluss\n")
    for train, test in ((folder, folder / "x.en-de.tsv"), (f"en-de={folder}/x.en-de.tsv", folder)):
        options = ["--model", tiny_preset, "--train", train, "--test", test, "--output_dir", tmp_path / "run"]
        assert "is given in --train and in --test" in refused(capsys, finetune_embedding.main, *options)


def test_what_is_left_out_is_counted_for_each_file(quick, tmp_path, capsys):
    bad = tmp_path / "gaps.de.tsv"
    rows = ["label\tsentence1\tsentence2", "same\tx\ty", "-1\tx\ty", "null\tx\ty", "other\tNS\ty", "-1\t\t"]
    bad.write_text("\n".join(rows) + "\n")
    run(finetune_classification.main, *quick, "--dev", bad)
    printed = capsys.readouterr().out
    expected = {"no gold label (-1)": 2, "no gold label (null)": 1, "no text (NS)": 1}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["left_out"] == {"training": {}, "development": {str(bad): expected}, "test": {}}
    assert f"left out of {bad}: 2 with no gold label (-1), 1 with no gold label (null), 1 with no text (NS)" in printed
    assert "note: development in de has no sample labelled other" in printed
    assert results["labels"] == ["other", "same"]


class Full:
    """Stands in for a function: the disk is full."""

    def __init__(self, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "x")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (finetune, "write_json"),
        (finetune, "save_figure"),
        (finetune, "accuracy_by_language"),
        (loop, "write_json"),
        (TextClassifier, "save"),
        (TextClassifier, "accuracies"),
    ],
)
def test_after_a_failure_the_same_command_ends_the_run(quick, tmp_path, monkeypatch, capsys, owner, name):
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, Full)
        error = refused(capsys, finetune_classification.main, *quick)
    assert "x: no space left on device" in error
    if (owner, name) != (loop, "write_json"):  # its first file is written before training
        assert f"what was trained is in {output}" in error and "repeat the command" in error
    assert not (output / "results.json").exists()
    run(finetune_classification.main, *quick)
    assert sorted(os.listdir(output)) == ["accuracy.png", "model", "results.json", "runs"]
    assert load_text_classifier(output / "model").labels == ["other", "same"]


def test_outputs_that_are_not_finite_are_no_accuracy(quick, monkeypatch, capsys):
    def broken(run, start, restored):
        weights = run.head.model.get_weights()
        weights[-1][:] = np.nan
        run.head.model.set_weights(weights)
        return None, run.updates

    monkeypatch.setattr(FineTuningRun, "_fit", broken)
    error = refused(capsys, finetune_classification.main, *quick)
    assert "de: the classifier's outputs for sample 0 (from 0) are not finite" in error


def test_the_model_of_a_complete_run_that_is_gone_is_no_result(quick, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "write_json", Full)
        refused(capsys, finetune_classification.main, *quick)
    shutil.rmtree(tmp_path / "run/model")
    assert "the model of a complete run is gone; start over" in refused(capsys, finetune_classification.main, *quick)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("stage", ["load_pretrained", "save", "accuracies"])
def test_signals_leave_nothing_half_written_and_the_command_can_be_repeated(
    quick, tmp_path, monkeypatch, capsys, stage, number, status
):
    owner = finetune if stage == "load_pretrained" else TextClassifier
    original = getattr(owner, stage)

    def interrupted(*arguments, **keywords):
        os.kill(os.getpid(), number)
        return original(*arguments, **keywords)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(owner, stage, interrupted)
        with pytest.raises(SystemExit) as exit:
            run_command(lambda: finetune_classification.main([str(option) for option in quick]))
    message = capsys.readouterr().err
    assert exit.value.code == status and signal.getsignal(signal.SIGTERM) is before
    output = tmp_path / "run"
    if stage == "load_pretrained":
        assert "interrupted; nothing was written" in message and not output.exists()
    else:
        assert f"interrupted; what was saved so far is in {output / 'runs'}; to continue, repeat" in message
        assert not [path for path in output.rglob("*") if "partial" in path.name]
    run(finetune_classification.main, *quick)
    assert load_text_classifier(output / "model").labels == ["other", "same"]


def test_overwriting_leaves_no_results_of_the_model_before(quick, tmp_path, monkeypatch, capsys):
    output = tmp_path / "run"
    run(finetune_classification.main, *quick)
    assert sorted(os.listdir(output)) == ["accuracy.png", "model", "results.json", "runs"]
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "load_pretrained", Full)
        refused(capsys, finetune_classification.main, *quick, "--overwrite")
    assert sorted(os.listdir(output)) == ["accuracy.png", "model", "results.json", "runs"]
    monkeypatch.setattr(TextClassifier, "accuracies", Full)
    refused(capsys, finetune_classification.main, *quick, "--overwrite")
    assert os.listdir(output) == ["runs"]


def test_overwrite_keeps_what_is_read_and_what_others_put_there(quick, tmp_path, capsys):
    """The model that is tuned may be the one that --overwrite would remove."""
    shutil.copytree(quick[1], tmp_path / "run" / "model")
    (tmp_path / "run" / "runs" / "pretraining").mkdir(parents=True)
    before = tree(tmp_path / "run")
    assert "holds a trained model already" in refused(capsys, finetune_classification.main, *quick)
    shutil.rmtree(tmp_path / "run" / "runs")
    words = [quick[0], tmp_path / "run" / "model", *quick[2:], "--overwrite"]
    assert "is read from it" in refused(capsys, finetune_classification.main, *words)
    assert tree(tmp_path / "run") == before
    (tmp_path / "run" / "model" / "notes.txt").write_text("mine")
    error = refused(capsys, finetune_classification.main, *quick, "--overwrite")
    assert "holds notes.txt, which would be deleted" in error
    assert tree(tmp_path / "run") == before | {"model/notes.txt": b"mine"}


def test_a_folder_in_which_another_process_trains_is_refused(quick, tmp_path, capsys):
    with FineTuningOutput(tmp_path / "run", ClassificationHead).claimed():
        error = refused(capsys, finetune_classification.main, *quick)
    assert f"process {os.getpid()} is fine-tuning in it" in error and not (tmp_path / "run").exists()


def test_odd_paths_and_an_output_that_knows_ascii_only(quick, tmp_path, files):
    """Brackets, spaces and bytes that are not UTF-8 in every path; printed where only ASCII can be."""
    folder = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/run [lr=1e-3] \xff \xe4\xb8\xad"))
    folder.mkdir()
    shutil.copytree(quick[1], folder / "model[v2]")
    training, test = shutil.copy(files["train"], folder / "train[a].tsv"), shutil.copy(files["test"], folder)
    with open(training, "a", encoding="utf-8") as file:
        file.write("中文\tsame\tx\ty\nen\t-1\tx\ty\n中文\tother\tx\ty\n")
    options = ["--model", folder / "model[v2]", "--train", training, "--test", test, "--output_dir", folder / "out"]
    command = [
        sys.executable,
        "-m",
        "infoxlm_keras",
        "finetune-classification",
        *options,
        "--epochs",
        "1",
        "--max_length",
        "16",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:backslashreplace"}
    finished = subprocess.run(command, capture_output=True, env=environment)
    assert finished.returncode == 0, finished.stderr.decode()
    results = json.loads((folder / "out/results.json").read_text(encoding="utf-8"))
    assert results["training"] == {"en": 96, "中文": 2}
    assert list(results["left_out"]["training"].values()) == [{"no gold label (-1)": 1}]
    assert load_text_classifier(folder / "out/model").labels == ["other", "same"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("labels.json", "holds no labels.json; fine-tune with"),
        ("task.weights.h5", "lacks task.weights.h5, the weights of the head"),
    ],
)
def test_a_classifier_that_lacks_a_file_is_refused_and_not_opened_with_a_random_head(
    tiny_masked_lm, tokenizer, tmp_path, name, message
):
    classifier = built_classifier(PretrainedModel(tiny_masked_lm, tokenizer, None), ["0", "1"], max_length=16)
    classifier.save(tmp_path)
    assert load_text_classifier(tmp_path).labels == ["0", "1"]
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=message):
        load_text_classifier(tmp_path)
    with pytest.raises(InputError, match="nowhere: holds no labels.json"):
        load_text_classifier(tmp_path / "nowhere")
