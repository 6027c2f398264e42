"""Commands that change an encoder, on fine-tuned models and encoders alone: no head invented, none lost in silence."""

import subprocess
import sys

import keras_hub
import numpy as np
import pytest

from infoxlm_keras.commands import drop_layers, export_savedmodel, extend_vocabulary, trim_vocabulary
from infoxlm_keras.finetuning.question_answering import save_question_answering
from infoxlm_keras.finetuning.task_preset import write_task_preset
from infoxlm_keras.models.question_answering import QuestionAnswering
from infoxlm_keras.models.token_classification import TokenClassification
from infoxlm_keras.pretrained import PretrainedModel, load_pretrained, write_preset
from running import refused, run
from sample_text import multilingual_sentences, sentences

TEXTS = multilingual_sentences(2)


def encoder_alone(directory, model):
    write_preset(directory, PretrainedModel(model.masked_lm, model.tokenizer, None, has_head=False))


def classifier(directory, model):
    preprocessor = keras_hub.models.XLMRobertaTextClassifierPreprocessor(
        keras_hub.models.XLMRobertaTokenizer(proto=model.tokenizer.proto), sequence_length=8
    )
    task = keras_hub.models.XLMRobertaTextClassifier(model.backbone, 3, preprocessor=preprocessor)
    task.save_to_preset(str(directory))


def question_answering(directory, model):
    save_question_answering(directory, QuestionAnswering(model.backbone), model.tokenizer, replace=True)


def tagging(directory, model):
    write_task_preset(directory, TokenClassification(model.backbone, 3), model.tokenizer)


# What writes the model, and the head that is left out, in words.
MODELS = {
    "encoder": (encoder_alone, None),
    "classifier": (classifier, "classifier"),
    "qa": (question_answering, "question-answering head"),
    "tagger": (tagging, "tagging head"),
}


@pytest.fixture(scope="module", params=MODELS)
def source(request, tiny_preset, tmp_path_factory):
    """(directory of the model, the head that is left out)."""
    write, head = MODELS[request.param]
    directory = tmp_path_factory.mktemp(request.param) / "model"
    directory.mkdir()
    write(directory, load_pretrained(tiny_preset))
    return directory, head


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("text")
    (directory / "en.txt").write_text("\n".join([*sentences("en", 60), "zzyzx zzyzx zzyzx zzyzx"]), encoding="utf-8")
    return directory


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (drop_layers, ["--layers", 1]),
        (trim_vocabulary, ["--input", "TEXT"]),
        (extend_vocabulary, ["--input", "TEXT", "--add", 2]),
    ],
)
def test_only_the_encoder_is_written_and_the_lost_head_is_named(command, options, source, text_dir, tmp_path, capsys):
    directory, head = source
    options = [text_dir if option == "TEXT" else option for option in options]
    run(command.main, "--model", directory, "--output_dir", tmp_path / "model", *options)
    printed = capsys.readouterr().out
    if head is None:
        assert "is left out" not in printed
    else:
        assert f"note: the {head} of {directory} is left out" in printed
    assert not load_pretrained(tmp_path / "model").has_head and not (tmp_path / "model" / "task.json").exists()
    exported = ["--model", tmp_path / "model", "--head", "masked_lm", "--output_dir", tmp_path / "served"]
    assert "holds no trained masked-LM head" in refused(capsys, export_savedmodel.main, *exported)


def test_vectors_of_a_fine_tuned_model_are_its_encoders(source, tiny_preset):
    """In a process of its own, which knows the head's class from this library's loader alone."""
    code = (
        "import sys, numpy as np; from infoxlm_keras.pretrained import load_pretrained; "
        "np.save(sys.argv[2], load_pretrained(sys.argv[1]).encode(sys.argv[3:]))"
    )
    path = source[0].parent / "vectors.npy"
    subprocess.run([sys.executable, "-c", code, str(source[0]), str(path), *TEXTS], check=True)
    np.testing.assert_allclose(np.load(path), load_pretrained(tiny_preset).encode(TEXTS), atol=1e-6)


def test_vectors_follow_a_history_that_is_changed_in_place(tiny_preset):
    model = load_pretrained(tiny_preset)
    before = model.encode(TEXTS)
    model.info.pooling = "max"
    assert np.abs(model.encode(TEXTS) - before).max() > 1e-3
    np.testing.assert_array_equal(model.encode(TEXTS), load_pretrained(tiny_preset).encode(TEXTS, pooling="max"))
