"""DWA against the NumPy oracle: labels, loss, gradient; and that it shares TLM's batch and forward pass."""

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

import oracle
from infoxlm_keras import DWA, MMLM, TLM, InputError
from infoxlm_keras.config import check_config
from infoxlm_keras.losses.optimal_transport import iterated_links, partners, transport_plan
from infoxlm_keras.tasks.word_alignment import default_alignment_layer
from tiny_pretraining import (
    array,
    gradients,
    oracle_encoder,
    oracle_head,
    tiny_pretrainer,
    total_loss,
    translation_batch,
)

TOLERANCE = 1e-5


def pointer(task, read=array):
    return {
        side: (read(getattr(task, f"{side}_kernel")), read(getattr(task, f"{side}_bias"))) for side in ("query", "key")
    }


@pytest.fixture(scope="module")
def batch():
    return {"tlm": translation_batch(np.random.default_rng(3), 12, 15)}


@pytest.mark.parametrize(
    "settings", [{}, {"alignment_layer": 1, "sinkhorn_iterations": 1, "rounds": 4, "linked_factor": 0.5}]
)
def test_labels_and_loss_are_the_oracles(batch, settings):
    pretrainer = tiny_pretrainer([TLM(), DWA(**settings)])
    task = pretrainer.task("dwa")
    assert task.alignment_layer == settings.get("alignment_layer", 2)
    options = (task.alignment_layer, task.sinkhorn_iterations, task.rounds, task.linked_factor)
    encoder = oracle_encoder(pretrainer.backbone)
    labels = oracle.word_alignment_labels(encoder, batch["tlm"], *options)
    prepared = pretrainer.with_prepared(batch, pretrainer.prepared(batch))
    found = array(prepared["dwa"]["partner_positions"])
    tlm = batch["tlm"]
    for row, slot in np.ndindex(*found.shape):
        place = tlm["mask_positions"][row, slot]
        expected = labels[row].get(place, -1) if tlm["mask_weights"][row, slot] else -1
        assert found[row, slot] == expected
    # Some masked tokens have no label, and some have two partners.
    assert 0 < (found >= 0).sum() < tlm["mask_weights"].sum()

    result = task.result(pretrainer.batch_of(task, prepared), training=False)
    loss, count, correct, log_candidates = oracle.word_alignment(encoder, pointer(task), tlm, labels)
    assert float(result.loss_sum) == pytest.approx(loss, rel=TOLERANCE)
    assert (float(result.count), float(result.correct_sum)) == (count, correct)
    assert float(result.averages["log_candidates"]) == pytest.approx(log_candidates, rel=TOLERANCE)
    assert float(pretrainer.prediction_counts(prepared)["dwa"]) == count


@hypothesis.settings(max_examples=40)
@hypothesis.given(strategies.integers(1, 7), strategies.integers(1, 7), strategies.integers(1, 4), strategies.data())
def test_links_of_any_similarities(m, n, rounds, data):
    """Rows and columns in a larger matrix, beside places that are no candidates."""
    # One that is not positive at most: equal ones would leave it to rounding which of them is larger.
    numbers = strategies.lists(strategies.integers(0, 600), min_size=m * n, max_size=m * n, unique=True)
    similarity = np.array(data.draw(numbers), "float32").reshape(m, n)
    length = m + n + 3
    matrix, candidates = np.full((1, length, length), 1e6, "float32"), np.zeros((1, length, length), bool)
    matrix[0, 1 : 1 + m, 2 + m : 2 + m + n] = similarity
    candidates[0, 1 : 1 + m, 2 + m : 2 + m + n] = True
    plan = transport_plan(tf.constant(matrix), tf.constant(candidates))
    found = iterated_links(plan, tf.constant(candidates), rounds)
    exact = {(i - 1, j - 2 - m) for _, i, j in zip(*(each.tolist() for each in found.numpy().nonzero()), strict=True)}
    assert exact == oracle.word_links(similarity.tolist(), 2, rounds, 0.9)
    expected = np.full(length, -1)
    for i, j in sorted(exact):
        expected[1 + i], expected[2 + m + j] = 2 + m + j, 1 + i
    assert partners(found).numpy()[0].tolist() == expected.tolist()


@pytest.mark.parametrize("rule", ["sum_of_means", "joint_count"])
def test_gradient_is_the_oracles_slope(batch, rule):
    """Of TLM and DWA together; the labels are constants."""
    pretrainer = tiny_pretrainer([TLM(weight=0.5), DWA(weight=2.0)], loss_combination=rule)
    task = pretrainer.task("dwa")
    variables = pretrainer.trainable_variables
    prepared = pretrainer.with_prepared(batch, pretrainer.prepared(batch))
    loss, actual = gradients(pretrainer, lambda model: total_loss(model, prepared))
    actual = [array(part) for part in actual]
    start = [array(variable) for variable in variables]
    labels = oracle.word_alignment_labels(oracle_encoder(pretrainer.backbone), batch["tlm"], task.alignment_layer)
    counts = {
        "tlm": float(batch["tlm"]["mask_weights"].sum()),
        "dwa": (array(prepared["dwa"]["partner_positions"]) >= 0).sum(),
    }

    def loss_at(step, direction):
        moved = {id(v): base + step * way for v, base, way in zip(variables, start, direction, strict=True)}

        def read(variable):
            return moved[id(variable)]

        encoder = oracle_encoder(pretrainer.backbone, read)
        sums = {
            "tlm": oracle.masked_lm_loss_sum(encoder, oracle_head(pretrainer.masked_lm, read), batch["tlm"]),
            "dwa": oracle.word_alignment(encoder, pointer(task, read), batch["tlm"], labels)[0],
        }
        return oracle.combined(sums, counts, {"tlm": 0.5, "dwa": 2.0}, rule)

    assert float(loss) == pytest.approx(loss_at(0.0, start), rel=TOLERANCE)
    norm = math.sqrt(sum((part**2).sum() for part in actual))
    generator = np.random.default_rng(8)
    for direction in ([generator.normal(size=base.shape) for base in start], [part / norm for part in actual]):
        step = 1e-6
        slope = (loss_at(step, direction) - loss_at(-step, direction)) / (2 * step)
        found = sum((part * way).sum() for part, way in zip(actual, direction, strict=True))
        assert math.isclose(found, slope, rel_tol=TOLERANCE, abs_tol=TOLERANCE * norm)


def test_one_forward_pass_serves_both(batch, monkeypatch):
    """One pass on the masked pair for both losses, and one to the alignment layer for the labels."""
    pretrainer = tiny_pretrainer([TLM(), DWA()], dropout=0.3)
    passes = []
    top, middle = pretrainer.backbone.transformer_layers[-1], pretrainer.backbone.transformer_layers[1]
    for name, layer in (("top", top), ("middle", middle)):
        plain = type(layer).call

        def call(*arguments, plain=plain, layer=layer, name=name, **options):
            passes.append((name, bool(options.get("training"))))
            return plain(layer, *arguments, **options)

        monkeypatch.setattr(layer, "call", call)
    logs = pretrainer.train_step((batch,))
    assert sorted(passes) == [("middle", False), ("middle", True), ("top", True)]
    assert float(logs["dwa_loss"]) > 0 and float(logs["tlm_loss"]) > 0


def test_the_enable_step_and_the_bound(batch):
    """Before it, training is that of TLM alone; the bound is the mean log number of candidates less the loss."""
    alone = tiny_pretrainer([TLM()], learning_rate=0.01)
    both = tiny_pretrainer([TLM(), DWA(enable_step=2)], learning_rate=0.01)
    alone.masked_lm.set_weights(both.masked_lm.get_weights())
    for step in (1, 2, 3):
        alone.reset_metrics(), both.reset_metrics()
        expected, logs = alone.train_step((batch,)), both.train_step((batch,))
        assert (float(logs["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-6)) == (step <= 2)
        bound = float(logs["dwa_log_candidates"]) - float(logs["dwa_loss"])
        assert float(logs["dwa_mi_lower_bound"]) == pytest.approx(bound, abs=1e-6)
        assert 0 < float(logs["dwa_log_candidates"]) < math.log(7)
    # Nothing of it is in the encoder.
    assert [w.path for w in both.masked_lm.weights] == [w.path for w in alone.masked_lm.weights]


def test_what_is_refused():
    with pytest.raises(InputError, match="dwa works on the batch of tlm; add tlm"):
        tiny_pretrainer([MMLM(), DWA()])
    with pytest.raises(InputError, match="dwa works on the batch of tlm; add tlm"):
        check_config({"tasks": ["mmlm", "dwa"]})
    with pytest.raises(InputError, match="dwa.batch_size: unknown key"):
        check_config({"dwa": {"batch_size": 4}})
    with pytest.raises(InputError, match="dwa.rounds = 0"):
        DWA(rounds=0)
    with pytest.raises(InputError, match="layer 4: the encoder has hidden states 0..3, of which 1..3 are taken"):
        tiny_pretrainer([TLM(), DWA(alignment_layer=4)])
    assert [default_alignment_layer(layers) for layers in (12, 24, 3, 1)] == [10, 20, 2, 1]
    assert check_config({"tasks": ["tlm", "dwa"]}).batch_sizes == {"tlm": 32}
