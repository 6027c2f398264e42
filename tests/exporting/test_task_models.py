"""Fine-tuned heads on the way to transformers: equal logits and names, or a line on what is left out."""

import json

import keras_hub
import numpy as np
import pytest

from built_heads import built_classifier
from infoxlm_keras.commands import convert_checkpoint as recipe
from infoxlm_keras.errors import InputError
from infoxlm_keras.exporting.convert import convert_checkpoint
from infoxlm_keras.finetuning.question_answering import save_question_answering
from infoxlm_keras.models import QuestionAnswering
from infoxlm_keras.pretrained import load_pretrained
from running import refused, run
from tiny_huggingface import random_ids

LABELS = ["contradiction", "entailment", "neutral"]


def randomize(model):
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0, 0.5, weight.shape) for weight in model.weights])


@pytest.fixture(scope="module")
def classifier(tiny_preset, tmp_path_factory):
    """(directory, `TextClassifier`) as recipes/finetune_classification.py saves it."""
    directory = tmp_path_factory.mktemp("classifier")
    classifier = built_classifier(load_pretrained(tiny_preset), LABELS, max_length=24)
    randomize(classifier.model)
    classifier.save(directory)
    return directory, classifier


@pytest.fixture(scope="module")
def questions(tiny_preset, tokenizer, tmp_path_factory):
    """(directory, `QuestionAnswering`)."""
    directory = tmp_path_factory.mktemp("questions") / "model"
    model = QuestionAnswering(load_pretrained(tiny_preset).backbone)
    randomize(model)
    save_question_answering(directory, model, tokenizer)
    return directory, model


def inputs(tokenizer):
    token_ids, mask = random_ids(tokenizer.vocabulary_size)
    return {"token_ids": token_ids.astype("int32"), "padding_mask": mask.astype("int32")}


def open_in_transformers(directory, name, given):
    import torch
    import transformers

    model, report = getattr(transformers, name).from_pretrained(directory, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        output = model.eval()(torch.tensor(given["token_ids"]), attention_mask=torch.tensor(given["padding_mask"]))
    return model, output


def test_a_classifier_keeps_head_and_labels(classifier, tokenizer, tmp_path, capsys):
    directory, ours = classifier
    run(recipe.main, "--from", directory, "--to", tmp_path / "hf", "--format", "hf")
    assert "contradiction, entailment, neutral" in capsys.readouterr().out
    given = inputs(tokenizer)
    theirs, output = open_in_transformers(tmp_path / "hf", "AutoModelForSequenceClassification", given)
    np.testing.assert_allclose(output.logits.numpy(), ours.model(given), rtol=0, atol=1e-5)
    assert np.abs(output.logits.numpy()).max() > 0.1
    assert [theirs.config.id2label[number] for number in range(3)] == LABELS
    assert theirs.config.label2id == {label: number for number, label in enumerate(LABELS)}
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "AutoModelForSequenceClassification" in card


def test_texts_and_pairs_get_the_same_class_by_a_pipeline(classifier, tmp_path):
    import transformers

    directory, ours = classifier
    convert_checkpoint(directory, tmp_path / "hf", "hf")
    pipeline = transformers.pipeline("text-classification", model=str(tmp_path / "hf"), device="cpu")
    assert pipeline.tokenizer.model_max_length == 24
    pairs = [("the house", "a river"), ("улица", "the street"), ("дом", "die Straße")]
    logits = np.asarray(ours.model(ours.inputs([list(side) for side in zip(*pairs, strict=True)])))
    expected = [LABELS[number] for number in logits.argmax(-1)]
    assert [pipeline({"text": one, "text_pair": two})["label"] for one, two in pairs] == expected


def test_question_answering_keeps_its_head(questions, tokenizer, tmp_path):
    directory, ours = questions
    convert_checkpoint(directory, tmp_path / "hf", "hf")
    given = inputs(tokenizer)
    _, output = open_in_transformers(tmp_path / "hf", "AutoModelForQuestionAnswering", given)
    used = given["padding_mask"].astype(bool)
    expected = np.asarray(ours(given))[used]
    actual = np.stack([output.start_logits.numpy(), output.end_logits.numpy()], axis=-1)[used]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("format", ["keras", "sentence-transformers", "keras-embedder"])
def test_other_formats_say_what_they_leave_out(format, classifier, questions, tmp_path, capsys):
    for name, (directory, _) in {"TextClassifier": classifier, "QuestionAnswering": questions}.items():
        run(recipe.main, "--from", directory, "--to", tmp_path / name, "--format", format)
        assert f"is a {name}; --format {format} holds the encoder only" in capsys.readouterr().out


def save_classifier(directory, tiny_preset, **settings):
    preset = load_pretrained(tiny_preset)
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=preset.tokenizer.proto), sequence_length=32
    )
    options = {"num_classes": 2, "preprocessor": preprocessor, **settings}
    keras_hub.models.XLMRobertaTextClassifier(preset.backbone, **options).save_to_preset(str(directory))


def test_classes_without_names(tiny_preset, tmp_path, capsys):
    save_classifier(tmp_path / "model", tiny_preset, activation="softmax")
    convert_checkpoint(tmp_path / "model", tmp_path / "hf", "hf")
    output = capsys.readouterr().out
    assert "LABEL_0 to LABEL_1" in output and "probabilities" in output
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}


BAD_LABELS = {
    "too few": (["a"], "1 names, but the classifier 2 classes"),
    "twice": (["a", "a"], "each needs its own"),
    "numbers": ([0, 1], "not a list of the classes' names"),
    "a dictionary": ({"a": 0}, "not a list"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_damaged_labels(case, tiny_preset, tmp_path, capsys):
    labels, words = BAD_LABELS[case]
    save_classifier(tmp_path / "model", tiny_preset)
    (tmp_path / "model" / "labels.json").write_text(json.dumps(labels))
    arguments = ["--from", tmp_path / "model", "--to", tmp_path / "hf", "--format", "hf"]
    assert words in refused(capsys, recipe.main, *arguments)
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("settings", "words"), [({"hidden_dim": 5}, "inner layer of width 5"), ({"activation": "tanh"}, "tanh")]
)
def test_heads_that_transformers_has_not(settings, words, tiny_preset, tmp_path):
    save_classifier(tmp_path / "model", tiny_preset, **settings)
    with pytest.raises(InputError, match=words):
        convert_checkpoint(tmp_path / "model", tmp_path / "hf", "hf")
