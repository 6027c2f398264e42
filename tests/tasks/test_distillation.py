"""Distillation against the NumPy oracle: loss, gradient; the teacher stays what it is, and MMLM's pass serves both."""

import dataclasses
import math

import numpy as np
import pytest

import oracle
from infoxlm_keras import MMLM, TLM, Distillation, InfoXLMPretrainer, InputError, build_masked_lm
from infoxlm_keras.config import check_config
from infoxlm_keras.tasks.distillation import default_pairs
from tiny_pretraining import (
    TINY_SIZE,
    TWO_LAYERS,
    array,
    gradients,
    masked_lm_batch,
    oracle_encoder,
    oracle_head,
    tiny_masked_lm,
    tiny_pretrainer,
    total_loss,
    values,
)

TOLERANCE = 1e-5
FOUR_LAYERS = dataclasses.replace(TINY_SIZE, num_layers=4)
# The student has 2 layers of width 8.
TEACHERS = {"as wide": FOUR_LAYERS, "wider": dataclasses.replace(FOUR_LAYERS, hidden_dim=12, num_heads=3)}


def distilled(teacher_size=FOUR_LAYERS, teacher_dropout=0.0, layers=None, weights=(1.0, 1.0), **options):
    """(pretrainer, teacher)."""
    teacher = tiny_masked_lm(size=teacher_size, dropout=teacher_dropout, seed=7)
    tasks = [MMLM(weight=weights[0]), Distillation(teacher, layers, weight=weights[1])]
    return tiny_pretrainer(tasks, size=TWO_LAYERS, **options), teacher


def maps_of(task, read=array):
    return [read(getattr(task, f"map_{number}")) for number in range(len(task.pairs))] if task.has_maps else None


@pytest.fixture(scope="module")
def batch():
    return {"mmlm": masked_lm_batch(np.random.default_rng(3), 6, 13)}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layers", [None, [[1, 3]], [[2, 4], [0, 1], [2, 0]]])
@pytest.mark.parametrize("size", TEACHERS)
def test_loss_accuracy_and_cosine_are_the_oracles(batch, size, layers, training):
    """With dropout in the teacher, which has none when it teaches."""
    pretrainer, teacher = distilled(TEACHERS[size], 0.5, layers)
    task = pretrainer.task("distillation")
    assert task.pairs == (layers or [[0, 0], [1, 2], [2, 4]]) and task.has_maps == (size == "wider")
    encoders = oracle_encoder(pretrainer.backbone), oracle_encoder(teacher.backbone)
    loss, count, correct, cosine = oracle.distillation(*encoders, maps_of(task), task.pairs, batch["mmlm"])
    result = task.result(pretrainer.batch_of(task, batch), training=training)
    assert float(result.loss_sum) == pytest.approx(loss, rel=TOLERANCE)
    assert (float(result.count), float(result.correct_sum)) == (count, correct)
    assert float(result.averages["cosine"]) == pytest.approx(cosine, rel=TOLERANCE, abs=1e-5)
    assert float(pretrainer.prediction_counts(batch)["distillation"]) == count


@pytest.mark.parametrize("rule", ["sum_of_means", "joint_count"])
@pytest.mark.parametrize("size", TEACHERS)
def test_gradient_is_the_oracles_slope(batch, size, rule):
    """Of MMLM and distillation together; of the maps, too."""
    pretrainer, teacher = distilled(TEACHERS[size], weights=(0.5, 2.0), loss_combination=rule)
    task = pretrainer.task("distillation")
    variables = pretrainer.trainable_variables
    loss, actual = gradients(pretrainer, lambda model: total_loss(model, batch))
    actual = [array(part) for part in actual]
    start = values(variables)
    mmlm, fixed = batch["mmlm"], oracle_encoder(teacher.backbone)
    counts = {"mmlm": float(mmlm["mask_weights"].sum()), "distillation": float(mmlm["padding_mask"].sum())}

    def loss_at(step, direction):
        moved = {id(v): base + step * way for v, base, way in zip(variables, start, direction, strict=True)}

        def read(variable):
            return moved[id(variable)]

        encoder = oracle_encoder(pretrainer.backbone, read)
        sums = {
            "mmlm": oracle.masked_lm_loss_sum(encoder, oracle_head(pretrainer.masked_lm, read), mmlm),
            "distillation": oracle.distillation(encoder, fixed, maps_of(task, read), task.pairs, mmlm)[0],
        }
        return oracle.combined(sums, counts, {"mmlm": 0.5, "distillation": 2.0}, rule)

    assert float(loss) == pytest.approx(loss_at(0.0, start), rel=TOLERANCE)
    norm = math.sqrt(sum((part**2).sum() for part in actual))
    generator = np.random.default_rng(8)
    for direction in ([generator.normal(size=base.shape) for base in start], [part / norm for part in actual]):
        step = 1e-6
        slope = (loss_at(step, direction) - loss_at(-step, direction)) / (2 * step)
        found = sum((part * way).sum() for part, way in zip(actual, direction, strict=True))
        assert math.isclose(found, slope, rel_tol=TOLERANCE, abs_tol=TOLERANCE * norm)


@pytest.mark.parametrize("size", TEACHERS)
def test_the_teacher_is_not_trained_and_the_student_comes_nearer(batch, size):
    pretrainer, teacher = distilled(TEACHERS[size], learning_rate=0.02, weights=(0.0, 1.0))
    task, before = pretrainer.task("distillation"), values(teacher.weights)
    known = {id(variable) for variable in pretrainer.masked_lm.trainable_variables}
    further = [variable.name for variable in pretrainer.trainable_variables if id(variable) not in known]
    assert further == (["map_0", "map_1", "map_2"] if size == "wider" else [])
    assert {id(weight) for weight in teacher.backbone.weights} <= {id(each) for each in task.constant_variables}
    history = pretrainer.fit(
        ((batch,) for _ in range(40)), steps_per_epoch=1, epochs=40, verbose=0, shuffle=False
    ).history
    assert history["distillation_loss"][-1] < 0.5 * history["distillation_loss"][0]
    assert history["distillation_cosine"][-1] > history["distillation_cosine"][0]
    assert "distillation_mi_lower_bound" not in history
    for one, other in zip(before, teacher.weights, strict=True):
        np.testing.assert_array_equal(one, array(other))


def test_a_student_that_equals_its_teacher_has_no_loss(batch):
    pretrainer, teacher = distilled(TWO_LAYERS)
    pretrainer.masked_lm.set_weights(teacher.get_weights())
    result = pretrainer.task("distillation").result(batch["mmlm"], training=False)
    assert float(result.loss_sum) < 1e-9
    assert float(result.correct_sum) == float(result.count)
    assert float(result.averages["cosine"]) == pytest.approx(float(result.count), rel=1e-6)


def test_one_forward_pass_serves_both(batch, monkeypatch):
    """One of the student with dropout, one of the teacher without; no layer above the highest that teaches."""
    pretrainer, teacher = distilled(layers=[[1, 1], [2, 3]], dropout=0.3)
    passes = []
    parts = {"student": pretrainer.backbone.transformer_layers, "teacher": teacher.backbone.transformer_layers}
    for name, layers in parts.items():
        for number, layer in enumerate(layers, 1):
            plain = type(layer).call

            def call(*arguments, plain=plain, layer=layer, name=f"{name} {number}", **options):
                passes.append((name, bool(options.get("training"))))
                return plain(layer, *arguments, **options)

            monkeypatch.setattr(layer, "call", call)
    logs = pretrainer.train_step((batch,))
    expected = [("student 1", True), ("student 2", True), *((f"teacher {number}", False) for number in (1, 2, 3))]
    assert sorted(passes) == expected
    assert float(logs["distillation_loss"]) > 0 and float(logs["mmlm_loss"]) > 0


def test_evenly_spaced_pairs():
    assert default_pairs(4, 12) == [[0, 0], [1, 3], [2, 6], [3, 9], [4, 12]]
    assert default_pairs(6, 6) == [[number, number] for number in range(7)]
    assert default_pairs(1, 2) == [[0, 0], [1, 2]] and default_pairs(2, 3) == [[0, 0], [1, 2], [2, 3]]
    assert default_pairs(5, 12)[1:] == [[1, 2], [2, 5], [3, 7], [4, 10], [5, 12]]


def test_what_is_refused():
    teacher = tiny_masked_lm(size=FOUR_LAYERS)
    with pytest.raises(InputError, match="distillation works on the batch of mmlm; add mmlm"):
        tiny_pretrainer([TLM(), Distillation(teacher)])
    with pytest.raises(InputError, match="distillation: has no teacher; give one"):
        tiny_pretrainer([MMLM(), Distillation()])
    for layers, message in (
        ([[4, 1]], "state 4 is not there; the model that is trained has hidden states 0..3"),
        ([[1, 5]], "state 5 is not there; the teacher has hidden states 0..4"),
        ([], "distillation.layers = \\[\\]: give pairs"),
        ([[1, 2, 3]], "distillation.layers = .*: give pairs"),
    ):
        with pytest.raises(InputError, match=message):
            tiny_pretrainer([MMLM(), Distillation(teacher, layers)])
    short = dataclasses.replace(FOUR_LAYERS, max_sequence_length=15)
    with pytest.raises(InputError, match="teacher: has 15 positions, but the model that is trained has 16"):
        distilled(short)
    with pytest.raises(InputError, match="teacher: has 49 ids, but the model that is trained has 50"):
        tiny_pretrainer([MMLM(), Distillation(build_masked_lm(FOUR_LAYERS, 49))])
    with pytest.raises(InputError, match="is the model that is trained; give another one"):
        InfoXLMPretrainer(teacher, [MMLM(), Distillation(teacher)])
    for settings, message in (
        ({"tasks": ["mmlm", "distillation"]}, "distillation.teacher: is not set; give the larger model by --set"),
        ({"tasks": ["tlm", "distillation"]}, "distillation works on the batch of mmlm; add mmlm"),
        ({"distillation": {"layers": [[1]]}}, "distillation.layers.0"),
        ({"distillation": {"layers": [[1, -1]]}}, "distillation.layers.0.1"),
        ({"distillation": {"batch_size": 4}}, "distillation.batch_size: unknown key"),
    ):
        with pytest.raises(InputError, match=message):
            check_config(settings)
