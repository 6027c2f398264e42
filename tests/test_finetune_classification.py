"""Fine-tuning a classifier: learned in one language, measured in all, saved with its labels, served on strings."""

import json

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from infoxlm_keras.errors import InputError
from infoxlm_keras.finetuning import (
    ClassificationSettings,
    LabelledTexts,
    build_classifier,
    finetune_classifier,
    load_text_classifier,
    read_labelled_texts,
    transfer_gap,
)
from infoxlm_keras.finetuning.classification import encode
from infoxlm_keras.pretrained import PretrainedModel, PretrainingInfo, save_pretrained
from infoxlm_keras.serving import ClassifierModule, export_classifier
from recipes import finetune_classification
from running import refused, run, tree
from sample_text import sentences
from tiny_export import TEXTS, tiny_classifier

SETTINGS = ["--max_length", 16, "--batch_size", 16, "--learning_rate", 0.02, "--epochs", 6, "--dropout", 0]


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
    epochs = results["epochs"]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4, 5, 6] and epochs[-1]["loss"] < epochs[0]["loss"] / 2
    assert set(epochs[0]["development"]) == {"de", "en"}
    assert (finished / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_preset_is_the_best_epochs_and_opens_in_kerashub(finished, files):
    results = json.loads((finished / "results.json").read_text())
    classifier = load_text_classifier(finished / "model")
    development = classifier.accuracies(read_labelled_texts([files["dev"]]))
    assert development in [epoch["development"] for epoch in results["epochs"]]
    best = max(epoch["development_mean"] for epoch in results["epochs"])
    assert np.mean(list(development.values())) == pytest.approx(best)
    test = read_labelled_texts([files["test"]])
    assert classifier.accuracies(test) == results["accuracy"]
    # Strings through KerasHub's own preprocessing give the same logits.
    task = keras_hub.models.XLMRobertaTextClassifier.from_preset(str(finished / "model"))
    inputs = kerashub_inputs(task.preprocessor, *test[0].texts)
    expected = classifier.model.predict(classifier.inputs(test[0].texts), verbose=0)
    np.testing.assert_allclose(task(inputs), expected, rtol=0, atol=1e-5)


def test_the_same_seed_gives_the_same_run(preset, files, finished, tmp_path):
    options = ["--train", files["train"], "--dev", files["dev"], "--test", files["test"]]
    run(finetune_classification.main, "--model", preset, *options, "--output_dir", tmp_path / "run", *SETTINGS)
    again, first = (json.loads((path / "results.json").read_text()) for path in (tmp_path / "run", finished))
    assert again == first


def test_a_run_that_is_there_is_not_written_over(preset, files, finished, capsys):
    before = tree(finished)
    options = ["--model", preset, "--train", files["train"], "--dev", files["dev"], "--output_dir", finished]
    assert "holds a fine-tuned model already" in refused(capsys, finetune_classification.main, *options)
    assert tree(finished) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--dev and --test: give at least one"),
        (["--dev", "{single}"], "holds single texts, but the training data pairs of texts"),
        (["--dev", "{dev}", "--epochs", "0"], "epochs = 0: must be at least 1"),
        (["--dev", "{dev}", "--max_length", "4000"], "max_length = 4000: the model has"),
        (["--dev", "{dev}", "--train_languages", "sw"], "no labelled sample of sw"),
        (["--dev", "{unknown}"], "label 'maybe' is not one of the training data's: other, same"),
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


def test_a_loss_that_is_no_number_ends_the_run(preset, tokenizer, tiny_masked_lm):
    settings = ClassificationSettings(epochs=1, batch_size=4, learning_rate=1e30, max_length=16, dropout=0.0)
    part = LabelledTexts("en", [sentences("en", 16)], ["a", "b"] * 8, files=["x"])
    model = PretrainedModel(tiny_masked_lm, tokenizer, None)
    classifier = build_classifier(model, ["a", "b"], settings)
    classifier.model.set_weights([np.full(weight.shape, 1e20) for weight in classifier.model.weights])
    with pytest.raises(InputError, match="epoch 1: the loss is not finite; lower learning_rate"):
        finetune_classifier(classifier, [part], [], settings, verbose=0)


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


def test_a_fine_tuned_preset_is_served_as_keras_predicts(finished, files, tmp_path):
    classifier = load_text_classifier(finished / "model")
    directory = export_classifier(classifier.model, classifier.tokenizer, tmp_path, max_length=16).directory
    signature = tf.saved_model.load(str(directory)).signatures["pairs"]
    part = read_labelled_texts([files["test"]])[0]
    served = signature(text=tf.constant(part.texts[0]), text_pair=tf.constant(part.texts[1]))["probabilities"]
    logits = classifier.model.predict(classifier.inputs(part.texts), verbose=0)
    np.testing.assert_allclose(served, tf.nn.softmax(logits), rtol=0, atol=1e-5)
