"""Schedule-Free AdamW against the paper's algorithm and its authors' package; the averages of a pretrainer."""

import keras
import numpy as np
import pytest
import schedulefree
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from infoxlm_keras import MMLM, TLM, InputError, build_optimizer
from infoxlm_keras.tokenizer import PAD_ID
from infoxlm_keras.training.schedule_free import ScheduleFreeAdamW, averaged_weights
from infoxlm_keras.training.schedules import WarmupConstant, WarmupLinearDecay
from tiny_pretraining import TWO_LAYERS, joint_batch, tiny_pretrainer, values

SHAPE = (3, 4)


def drawn(updates, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=SHAPE), generator.normal(size=(updates, *SHAPE))


def applied(optimizer, weight, gradients):
    """The variable, named as a kernel, after the updates."""
    variable = keras.Variable(weight.astype("float32"), name="kernel")
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [variable])
    return variable


def algorithm(weight, gradients, rates, beta_1, beta_2, epsilon, decay):
    """(y, x, all z) after the updates, float64: algorithm 1 of the paper, with corrected second moments."""
    x, z, velocity, weights, points = weight.copy(), weight.copy(), np.zeros(SHAPE), [], []
    for update, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        y = (1 - beta_1) * z + beta_1 * x
        velocity = beta_2 * velocity + (1 - beta_2) * gradient**2
        corrected = velocity / (1 - beta_2**update)
        z = z - rate * gradient / (np.sqrt(corrected) + epsilon) - rate * decay * y
        weights.append(rate**2)
        points.append(z)
        share = weights[-1] / sum(weights)
        x = (1 - share) * x + share * z
    return (1 - beta_1) * z + beta_1 * x, x, points


@settings(max_examples=25, deadline=None)
@given(
    updates=st.integers(1, 30),
    warmup=st.integers(0, 12),
    rate=st.floats(1e-4, 0.3),
    beta_1=st.floats(0.05, 0.98),
    beta_2=st.floats(0.5, 0.999),
    decay=st.one_of(st.none(), st.floats(0.0, 0.2)),
)
def test_equals_the_papers_algorithm(updates, warmup, rate, beta_1, beta_2, decay):
    weight, gradients = drawn(updates)
    schedule = WarmupConstant(rate, warmup, 100)
    optimizer = ScheduleFreeAdamW(schedule, beta_1, beta_2, 1e-6, decay)
    variable = applied(optimizer, weight, gradients)
    rates = [rate * min(1.0, update / max(warmup, 1)) for update in range(1, updates + 1)]
    y, x, points = algorithm(weight, gradients, rates, beta_1, beta_2, 1e-6, decay or 0.0)
    np.testing.assert_allclose(values([variable])[0], y, rtol=1e-4, atol=1e-5)
    found = ops.convert_to_numpy(optimizer.average(variable))
    np.testing.assert_allclose(found, x, rtol=1e-4, atol=1e-4)
    # The average of all points, each by its squared rate.
    squares = np.square(rates)
    np.testing.assert_allclose(x, np.tensordot(squares / squares.sum(), points, 1), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("warmup", [0, 6])
def test_equals_the_package_of_its_authors(warmup, decay):
    weight, gradients = drawn(25)
    optimizer = ScheduleFreeAdamW(WarmupConstant(0.05, warmup, 100), 0.9, 0.98, 1e-8, decay)
    variable = applied(optimizer, weight, gradients)
    parameter = torch.nn.Parameter(torch.tensor(weight))
    theirs = schedulefree.AdamWScheduleFree(
        [parameter], lr=0.05, betas=(0.9, 0.98), eps=1e-8, weight_decay=decay, warmup_steps=warmup, foreach=False
    )
    theirs.train()
    for gradient in gradients:
        parameter.grad = torch.tensor(gradient)
        theirs.step()
    np.testing.assert_allclose(values([variable])[0], parameter.detach().numpy(), rtol=1e-4, atol=1e-5)
    theirs.eval()
    found = ops.convert_to_numpy(optimizer.average(variable))
    np.testing.assert_allclose(found, parameter.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_shares_of_long_runs_stay_numbers():
    optimizer = ScheduleFreeAdamW(WarmupConstant(1e-3, 50_000, 10**7))
    for update in (1, 49_999, 50_000, 50_001, 10**7):
        squares = np.minimum(np.arange(1, update + 1) / 50_000, 1.0) ** 2
        found = float(optimizer.share(ops.convert_to_tensor(float(update))))
        assert found == pytest.approx(squares[-1] / squares.sum(), rel=1e-4)


def test_reads_weights_that_are_loaded_after_it_was_built():
    weight, gradients = drawn(4)
    expected = values([applied(ScheduleFreeAdamW(0.1), weight, gradients)])[0]
    optimizer, variable = ScheduleFreeAdamW(0.1), keras.Variable(np.zeros(SHAPE, "float32"), name="kernel")
    optimizer.build([variable])
    variable.assign(weight)
    np.testing.assert_array_equal(ops.convert_to_numpy(optimizer.average(variable)), weight.astype("float32"))
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient, "float32")], [variable])
    np.testing.assert_array_equal(values([variable])[0], expected)


def test_no_decay_of_biases():
    optimizer = build_optimizer(0.1, name="schedule_free", schedule="constant", weight_decay=0.5)
    bias, kernel = (keras.Variable(np.ones(3, "float32"), name=name) for name in ("bias", "kernel"))
    optimizer.build([bias, kernel])
    for variable in (bias, kernel):
        variable._path = f"layer/{variable.name}"
    optimizer.apply([ops.zeros(3), ops.zeros(3)], [bias, kernel])
    np.testing.assert_array_equal(values([bias])[0], np.ones(3))
    np.testing.assert_allclose(values([kernel])[0], np.full(3, 0.95), rtol=1e-6)


@pytest.mark.parametrize(
    ("rate", "beta_1", "message"),
    [
        (WarmupLinearDecay(0.1, 0, 10), 0.9, "learning_rate = WarmupLinearDecay: Schedule-Free AdamW takes a number"),
        (0.1, 0.0, "beta_1 = 0.0: Schedule-Free AdamW needs"),
        (0.1, 1.0, "beta_1 = 1.0: Schedule-Free AdamW needs"),
    ],
)
def test_what_it_refuses(rate, beta_1, message):
    with pytest.raises(InputError, match=message):
        ScheduleFreeAdamW(rate, beta_1)


def trained(steps=12, **options):
    pretrainer = tiny_pretrainer(
        [MMLM(), TLM()],
        size=TWO_LAYERS,
        learning_rate=5e-3,
        optimizer={"name": "schedule_free", "schedule": "constant", "weight_decay": 0.1},
        **options,
    )
    batch = {name: joint_batch(np.random.default_rng(0))[name] for name in ("mmlm", "tlm")}
    for _ in range(steps):
        pretrainer.train_on_batch(batch)
    return pretrainer, batch


def test_a_pretrainers_averages():
    """They differ from the weights, but for `<pad>`; measured on them the loss is another; the bits come back."""
    pretrainer, batch = trained()
    before = values(pretrainer.variables)
    padding = values([pretrainer.backbone.token_embedding.embeddings])[0][PAD_ID]
    plain = pretrainer.test_on_batch(batch, return_dict=True)["loss"]
    with pretrainer.averaged_weights():
        averages = values(pretrainer.trainable_variables)
        measured = pretrainer.test_on_batch(batch, return_dict=True)["loss"]
        again = values([pretrainer.backbone.token_embedding.embeddings])[0]
    np.testing.assert_array_equal(again[PAD_ID], padding)
    moved = [not np.array_equal(a, w) for a, w in zip(averages, values(pretrainer.trainable_variables), strict=True)]
    assert all(moved)
    assert float(plain) != float(measured)
    metrics = {id(variable) for variable in pretrainer.metrics_variables}
    for variable, one, other in zip(pretrainer.variables, before, values(pretrainer.variables), strict=True):
        if id(variable) not in metrics:
            np.testing.assert_array_equal(one, other, err_msg=variable.path)


def test_a_look_at_the_averages_changes_no_bit_of_training():
    plain, batch = trained(6)
    looked, _ = trained(3)
    with looked.averaged_weights():
        looked.test_on_batch(batch)
    for _ in range(3):
        looked.train_on_batch(batch)
    for one, other in zip(values(plain.trainable_variables), values(looked.trainable_variables), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_bits_come_back_after_an_error():
    weight, gradients = drawn(3)
    optimizer = ScheduleFreeAdamW(0.1)
    variable = applied(optimizer, weight, gradients)
    before = values([variable])[0]
    with pytest.raises(ZeroDivisionError), averaged_weights(optimizer):
        assert not np.array_equal(values([variable])[0], before)
        raise ZeroDivisionError
    np.testing.assert_array_equal(values([variable])[0], before)


def test_a_weight_that_is_first_updated_later_begins_where_it_is():
    """As a part of a model that was frozen at first; another is never trained."""
    frozen, plain, never = (keras.Variable(np.full(3, 2.0, "float32"), name=f"kernel_{n}") for n in range(3))
    optimizer = ScheduleFreeAdamW(1e-5)
    optimizer.build([frozen, plain, never])
    for _ in range(3):
        optimizer.apply([ops.ones(3)], [plain])
    optimizer.apply([ops.ones(3), ops.ones(3)], [frozen, plain])
    np.testing.assert_allclose(values([frozen])[0], np.full(3, 2.0), atol=1e-4)
    with averaged_weights(optimizer):
        for variable in (frozen, plain, never):
            np.testing.assert_allclose(values([variable])[0], np.full(3, 2.0), atol=1e-4)
        np.testing.assert_array_equal(values([never])[0], np.full(3, 2.0))


def test_a_block_within_another_changes_nothing():
    weight, gradients = drawn(3)
    optimizer = ScheduleFreeAdamW(np.float32(0.1))
    variable = applied(optimizer, weight, gradients)
    before = values([variable])[0]
    with averaged_weights(optimizer):
        average = values([variable])[0]
        with averaged_weights(optimizer):
            np.testing.assert_array_equal(values([variable])[0], average)
        np.testing.assert_array_equal(values([variable])[0], average)
    np.testing.assert_array_equal(values([variable])[0], before)


def test_what_training_needs_is_not_saved_from_the_averages(tmp_path):
    pretrainer, batch = trained(3)
    with pretrainer.averaged_weights(), pytest.raises(InputError, match="call it outside of averaged_weights"):
        pretrainer.save(tmp_path / "inside.keras")
    assert not (tmp_path / "inside.keras").exists()
    pretrainer.save(tmp_path / "outside.keras")
    again = keras.saving.load_model(tmp_path / "outside.keras")
    with pretrainer.averaged_weights(), again.averaged_weights():
        averages = values(pretrainer.trainable_variables)
        for one, other in zip(averages, values(again.trainable_variables), strict=True):
            np.testing.assert_array_equal(one, other)


def test_keras_loss_scaling_around_it_keeps_averages():
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    free = ScheduleFreeAdamW(5e-3)
    pretrainer.compile(optimizer=keras.optimizers.LossScaleOptimizer(free))
    batch = {"mmlm": joint_batch(np.random.default_rng(0))["mmlm"]}
    for _ in range(4):
        pretrainer.train_on_batch(batch)
    before = values(pretrainer.trainable_variables)
    with pretrainer.averaged_weights():
        averages = values(pretrainer.trainable_variables)
    expected = [ops.convert_to_numpy(free.average(variable)) for variable in pretrainer.trainable_variables]
    for one, other in zip(averages[1:], expected[1:], strict=True):  # the first has the row of `<pad>`
        np.testing.assert_array_equal(one, other)
    assert sum(np.abs(a - b).max() > 1e-4 for a, b in zip(averages, before, strict=True)) > len(before) / 2


def test_keras_own_is_refused_and_no_optimizer_has_no_averages():
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    with pytest.raises(InputError, match="name='schedule_free', schedule='constant'"):
        pretrainer.compile(optimizer=keras.optimizers.ScheduleFreeAdamW())
    uncompiled = type(pretrainer)(pretrainer.masked_lm, [MMLM()])
    with uncompiled.averaged_weights(), averaged_weights(ScheduleFreeAdamW()):
        pass


def test_other_optimizers_keep_no_averages():
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    before = values(pretrainer.trainable_variables)
    with pretrainer.averaged_weights():
        for one, other in zip(before, values(pretrainer.trainable_variables), strict=True):
            np.testing.assert_array_equal(one, other)
