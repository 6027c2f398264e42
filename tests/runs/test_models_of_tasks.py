"""A run with a teacher: each start loads it, no checkpoint holds it, and a run continues with the same one only."""

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy

from infoxlm_keras import MMLM, Distillation, InfoXLMPretrainer
from infoxlm_keras.commands import drop_layers, pretrain, report, trim_vocabulary
from infoxlm_keras.models import EncoderSize, build_masked_lm
from infoxlm_keras.pretrained import PretrainingInfo, load_pretrained, save_pretrained
from infoxlm_keras.pretrained.digest import model_digest
from quick_runs import quick_graphs
from running import refused, run
from sample_text import sentences
from tiny_pretraining import randomize
from tiny_run import arguments, history, weights

# A checkpoint after steps 4 and 8.
SETTINGS = ["--tasks", "mmlm,distillation", "--set", "save_every=4", "--set", "log_every=4"]
SETTINGS += ["--set", "data.validation_records=4", "--set", "evaluation.validation_batches=1"]
SETTINGS += ["--set", "evaluation.every=8"]


@pytest.fixture(scope="module", autouse=True)
def graphs():
    with quick_graphs():
        yield


@pytest.fixture(scope="module")
def teacher(tokenizer, tmp_path_factory):
    """A preset of 3 layers, wider than the run's model, whose vector is hidden state 2 pooled by maximum."""
    directory = tmp_path_factory.mktemp("teacher") / "model"
    size = EncoderSize(num_layers=3, hidden_dim=12, num_heads=3, intermediate_dim=16, max_sequence_length=64)
    masked_lm = build_masked_lm(size, tokenizer.vocabulary_size, dropout=0.1)
    randomize(masked_lm.weights)
    info = PretrainingInfo(universal_layer=2, pooling="max", normalize=False, steps=9, tasks=["xlco"])
    save_pretrained(directory, masked_lm, tokenizer, info)
    return directory


def options(inputs, output_dir, teacher, *more):
    return arguments(inputs, output_dir, *SETTINGS, "--set", f"distillation.teacher={teacher}", *more)


@pytest.fixture(scope="module")
def whole(inputs, teacher, tmp_path_factory):
    """A run of 8 steps in one piece, and its options."""
    output_dir = tmp_path_factory.mktemp("whole") / "run"
    run(pretrain.main, *options(inputs, output_dir, teacher))
    return output_dir


def checkpoint(directory, step):
    return directory / "checkpoints" / f"step-{step:08d}"


@pytest.fixture
def cut(whole, tmp_path):
    """The same run as a kill after step 4 leaves it."""
    shutil.copytree(whole, tmp_path / "cut")
    shutil.rmtree(checkpoint(tmp_path / "cut", 8))
    shutil.rmtree(tmp_path / "cut" / "model")
    return tmp_path / "cut"


def test_checkpoints_hold_the_maps_and_not_the_teacher(whole, teacher):
    state = safetensors.numpy.load_file(checkpoint(whole, 8) / "state.safetensors")
    shapes = [values.shape for values in state.values()]
    assert (256, 8) in shapes and shapes.count((8, 12)) == 9  # the maps of three pairs, with two moments each
    assert not [shape for shape in shapes if shape in {(256, 12), (64, 12), (12, 16)}]
    info = json.loads((checkpoint(whole, 8) / "checkpoint.json").read_text())["info"]
    assert info["models"] == {"distillation.teacher": model_digest(load_pretrained(teacher))}
    assert {"distillation_loss", "distillation_accuracy", "distillation_cosine"} <= set(history(whole)[0])


def test_a_task_without_a_bound_is_reported(whole, tmp_path):
    rows = history(whole)
    assert float(rows[-1]["val_distillation_loss"]) > 0 and "val_distillation_mi_lower_bound" not in rows[-1]
    assert "val_mmlm_mi_lower_bound" in rows[-1]
    run(report.main, whole, "--output", tmp_path / "report.html")
    text = (tmp_path / "report.md").read_text()
    assert "DISTILLATION" in text and "MMLM" in text


def test_the_vector_is_that_of_the_state_that_learns_the_teachers(whole):
    """Of 2 layers the first learns state 2 of 3: 1.5, halves up."""
    info = load_pretrained(whole / "model").info
    assert (info.universal_layer, info.pooling, info.normalize) == (1, "max", False)
    assert load_pretrained(whole / "model").backbone.num_layers == 2


def test_a_run_continues_with_the_teacher_to_the_same_bits(inputs, whole, teacher, cut, tmp_path):
    """From another place, too."""
    shutil.copytree(teacher, tmp_path / "moved to")
    run(pretrain.main, *options(inputs, cut, tmp_path / "moved to"))
    states = [(checkpoint(directory, 8) / "state.safetensors").read_bytes() for directory in (cut, whole)]
    assert states[0] == states[1]
    for one, other in zip(weights(cut), weights(whole), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_does_not_continue_with_another_teacher(inputs, teacher, cut, tmp_path, capsys, monkeypatch):
    kept = tmp_path / "kept"
    shutil.copytree(teacher, kept)
    other = load_pretrained(teacher)
    randomize(other.masked_lm.weights, seed=1)
    try:
        save_pretrained(teacher, other.masked_lm, other.tokenizer, other.info, replace=True)
        message = refused(capsys, pretrain.main, *options(inputs, cut, teacher))
    finally:
        shutil.rmtree(teacher)
        shutil.copytree(kept, teacher)
    assert "its run worked with another model (distillation.teacher: the weights or the tokenizer differ)" in message
    assert not checkpoint(cut, 8).exists()


def test_a_teacher_that_does_not_fit_is_refused(inputs, teacher, tmp_path, capsys):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "hi.txt").write_text("\n".join(sentences("hi", 200)), encoding="utf-8")
    trimmed = ["--model", teacher, "--input", tmp_path / "text", "--output_dir", tmp_path / "trimmed"]
    run(trim_vocabulary.main, *trimmed)
    for model, message in (
        (tmp_path / "trimmed", "has another vocabulary than the model that is trained; give a model with the same"),
        ("./missing", "distillation.teacher: ./missing: no such directory"),
        ("nowhere", "distillation.teacher: nowhere: no such directory, and KerasHub knows no preset of this name"),
    ):
        assert message in refused(capsys, pretrain.main, *options(inputs, tmp_path / "run", model))
    message = refused(capsys, pretrain.main, *arguments(inputs, tmp_path / "run", *SETTINGS))
    assert "distillation.teacher: is not set" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("[[1,1],[2,3],[1,1]]", "names a pair twice"),
        ("[[3,2]]", "state 3 is not there; the model that is trained has hidden states 0..2"),
        ("[[1,4]]", "state 4 is not there; the teacher has hidden states 0..3"),
    ],
)
def test_pairs_that_cannot_be_learned_are_refused(inputs, teacher, tmp_path, capsys, layers, message):
    given = options(inputs, tmp_path / "run", teacher, "--set", f"distillation.layers={layers}")
    assert message in refused(capsys, pretrain.main, *given)
    assert not (tmp_path / "run").exists()


def test_a_vector_that_no_state_learns_is_said_before_training(teacher):
    masked_lm = build_masked_lm(EncoderSize(2, 8, 2, 16, 64), load_pretrained(teacher).tokenizer.vocabulary_size)
    for layers, noted in (([[2, 1]], 1), ([[1, 1], [2, 2]], 0)):
        task = Distillation(layers=layers)
        task.take_models({"teacher": load_pretrained(teacher)})
        InfoXLMPretrainer(masked_lm, [MMLM(), task])
        assert len(task.notes()) == noted
        assert all("no state learns hidden state 2 of the teacher" in note for note in task.notes())


def test_from_dropped_layers_to_a_distilled_model(inputs, teacher, tmp_path):
    """The commands of the documentation: same width, so no maps; the embeddings' state is equal from the start."""
    run(drop_layers.main, "--model", teacher, "--layers", 2, "--output_dir", tmp_path / "small")
    more = ["--init", tmp_path / "small", "--set", "mmlm.weight=0", "--set", "model.dropout=0", "--set", "log_every=1"]
    given = options(inputs, tmp_path / "run", teacher, *more, "--set", "optimizer.learning_rate=0.002")
    run(pretrain.main, *given, "--tasks", "mmlm,xlco,distillation")
    losses = [float(row["distillation_loss"]) for row in history(tmp_path / "run") if row["distillation_loss"]]
    assert len(losses) == 8 and losses[-1] < losses[0]
    model = load_pretrained(tmp_path / "run" / "model")
    assert (model.backbone.num_layers, model.backbone.hidden_dim) == (2, 12)
    assert model.info.settings["distillation"]["teacher"] == str(teacher) and model.info.kept_layers == []
