"""Warm-up and decay, AdamW, clipping and the frozen padding row, against the NumPy oracle."""

import math

import keras
import numpy as np
import pytest
import torch
from keras import ops

import oracle
from infoxlm_keras import MMLM, TLM, XLCO, InputError, build_optimizer
from infoxlm_keras.distribution.workarounds import update_on_each_replica
from infoxlm_keras.training.gradients import clip_by_norm, global_norm
from infoxlm_keras.training.muon import MatrixMuon, matrix_shape
from infoxlm_keras.training.optimizer import OPTIMIZERS, optimizer_config, optimizer_from_config
from infoxlm_keras.training.schedules import SCHEDULES, WarmupCosineDecay, WarmupLinearDecay, WarmupStableDecay
from infoxlm_keras.training.torch_norm import exact_global_norm
from tiny_pretraining import TWO_LAYERS, array, gradients, joint_batch, tiny_pretrainer, values

PADDING_ID = 1


@pytest.mark.parametrize(("warmup_steps", "total_steps"), [(0, 10), (1, 2), (4, 10), (9, 10), (10000, 150000)])
def test_warmup_and_decay(warmup_steps, total_steps):
    schedule = WarmupLinearDecay(2e-4, warmup_steps, total_steps)
    updates = sorted({1, 2, warmup_steps, warmup_steps + 1, total_steps // 2, total_steps - 1, total_steps} - {0})
    for update in updates:
        expected = oracle.learning_rate_at(update, 2e-4, warmup_steps, total_steps)
        # Keras counts updates from 0.
        assert float(schedule(update - 1)) == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_rates_in_numbers():
    schedule = WarmupLinearDecay(1.0, warmup_steps=4, total_steps=12)
    rates = [round(float(schedule(step)), 6) for step in range(14)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0, 0.0]


def test_schedule_survives_saving():
    schedule = WarmupLinearDecay(3e-4, 5, 50)
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert [float(again(step)) for step in range(50)] == [float(schedule(step)) for step in range(50)]


def test_cosine_and_stable_rates():
    cosine = WarmupCosineDecay(2.0, 2, 12, final_share=0.25)
    left = [(12 - update) / 10 for update in range(2, 13)]
    expected = [2.0 * (0.25 + 0.75 * (1 - math.cos(math.pi * share)) / 2) for share in left]
    assert [float(cosine(step)) for step in (0, 1)] == pytest.approx([1.0, 2.0])
    assert [float(cosine(update - 1)) for update in range(2, 13)] == pytest.approx(expected, rel=1e-5)
    stable = WarmupStableDecay(1.0, 2, 20, final_share=0.5, decay_share=0.25)
    rates = [round(float(stable(step)), 6) for step in range(22)]
    assert rates == [0.5, *[1.0] * 14, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("warmup_steps", [1, 500, 900])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_long_warmup_rises_in_a_line(name, warmup_steps):
    """Half a cosine would come down again where more than a whole fall is left."""
    rates = build_optimizer(1.0, 1000, warmup_steps, schedule=name)._learning_rate
    for update in range(1, warmup_steps + 1, max(1, warmup_steps // 10)):
        assert float(rates(update - 1)) == pytest.approx(update / warmup_steps)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_rise_alike_and_never_rise_again(name):
    rates = build_optimizer(3e-4, 50, 5, schedule=name)._learning_rate
    values = [float(rates(step)) for step in range(60)]
    assert values[:5] == pytest.approx([3e-4 * update / 5 for update in range(1, 6)])
    assert all(later <= earlier for earlier, later in zip(values[4:], values[5:], strict=False))
    assert values[49:] == pytest.approx([3e-4 if name == "constant" else 0.0] * 11, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "adamm"}, "name = 'adamm': must be one of adamw, lamb, lion, muon, schedule_free"),
        ({"schedule": "wsd"}, "schedule = 'wsd': must be one of linear, cosine, stable, constant"),
        ({"name": "schedule_free", "schedule": "constnat"}, "schedule = 'constnat': must be one of linear, cosine"),
        ({"name": "schedule_free"}, "schedule = 'linear' does; take schedule = 'constant'"),
        (
            {"name": "schedule_free", "schedule": "constant", "beta_1": 0.0},
            "beta_1 = 0.0: name = 'schedule_free' needs",
        ),
        ({"schedule": "constant", "final_share": 0.1}, "final_share = 0.1: the constant schedule does not fall"),
        ({"final_share": 0.1}, "final_share = 0.1: the linear schedule falls to 0"),
        ({"decay_share": 0.5}, "decay_share = 0.5: the linear schedule has no such part"),
        ({"schedule": "cosine", "decay_share": 0.5}, "decay_share = 0.5: the cosine schedule has no such part"),
        ({"schedule": "cosine", "final_share": 1.0}, "final_share = 1.0: must be at least 0 and below 1"),
        ({"schedule": "stable", "decay_share": 0.0}, "decay_share = 0.0: must be above 0"),
        ({"schedule": "stable", "decay_share": 0.95, "warmup_steps": 10}, "decay_share = 0.95: the fall of 95 steps"),
    ],
)
def test_optimizers_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        build_optimizer(1e-3, total_steps=100, **settings)


def applied(name, weights, gradients, paths=None, **settings):
    """The weights, list of arrays, after some updates by the optimizer `name` at a rate that is nearly 0.1."""
    optimizer = build_optimizer(0.1, total_steps=10**9, name=name, **settings)
    variables = [keras.Variable(array.astype("float32"), name="kernel") for array in weights]
    for variable, path in zip(variables, paths or [], strict=False):
        variable._path = path
    optimizer.build(variables)
    for update in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient, "float32") for gradient in update], variables)
    return values(variables)


def test_lion_moves_by_the_sign():
    generator = np.random.default_rng(4)
    weight, gradients, momentum = generator.normal(size=(3, 4)), generator.normal(size=(3, 3, 4)), np.zeros((3, 4))
    (found,) = applied("lion", [weight], [[gradient] for gradient in gradients], beta_1=0.8, beta_2=0.9)
    for gradient in gradients:
        weight = weight * (1 - 0.1 * 0.01)
        weight = weight - 0.1 * np.sign(0.8 * momentum + 0.2 * gradient)
        momentum = 0.9 * momentum + 0.1 * gradient
    np.testing.assert_allclose(found, weight, rtol=1e-5, atol=1e-6)


def test_lamb_moves_each_matrix_by_its_norm():
    generator = np.random.default_rng(5)
    weight, gradient = generator.normal(size=(3, 4)), generator.normal(size=(3, 4))
    (found,) = applied("lamb", [weight], [[gradient]], weight_decay=0.0)
    # After one update the corrected moments are the gradient and its square.
    direction = gradient / (np.abs(gradient) + 1e-6)
    moved = 0.1 * np.linalg.norm(weight) / np.linalg.norm(direction) * direction
    np.testing.assert_allclose(found, weight - moved, rtol=1e-4, atol=1e-5)


def test_muon_is_pytorchs_for_kernels_of_attention_too():
    """A kernel of three dimensions is the matrix of width by heads, of the attention's output heads by width."""
    generator = np.random.default_rng(6)
    query, output, dense = (generator.normal(size=shape) for shape in ((6, 2, 4), (2, 4, 6), (6, 9)))
    weights, paths = [query, output, dense], ["layer/query/kernel", "layer/attention_output/kernel", "dense/kernel"]
    gradients = [[generator.normal(size=weight.shape) for weight in weights] for _ in range(3)]
    found = applied("muon", weights, gradients, paths, weight_decay=0.01)
    shapes = [(6, 8), (8, 6), (6, 9)]
    expected = [torch.nn.Parameter(torch.tensor(w.reshape(s).T.copy())) for w, s in zip(weights, shapes, strict=True)]
    reference = torch.optim.Muon(
        expected, lr=0.1, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw", nesterov=True
    )
    for update in gradients:
        for parameter, gradient, shape in zip(expected, update, shapes, strict=True):
            parameter.grad = torch.tensor(gradient.reshape(shape).T.copy())
        reference.step()
    for weight, parameter, mine, shape in zip(weights, expected, found, shapes, strict=True):
        moved = mine.reshape(shape) - weight.reshape(shape)
        theirs = parameter.detach().numpy().T - weight.reshape(shape)
        # PyTorch multiplies in bfloat16.
        assert np.linalg.norm(moved - theirs) < 0.05 * np.linalg.norm(theirs)
    variable = keras.Variable(np.zeros((2, 4, 6), "float32"))
    variable._path = "a/attention_output/kernel"
    assert matrix_shape(variable) == (8, 6)


def test_muon_leaves_embeddings_biases_and_norms_to_adamw():
    muon, adamw = MatrixMuon(), set()
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS)
    for variable in pretrainer.trainable_variables:
        if muon._should_use_adamw(variable):
            adamw.add(variable.path.split("/")[-1])
        else:
            assert variable.path.endswith("kernel")
    assert adamw == {"embeddings", "bias", "output_bias", "gamma", "beta"}


def test_muon_keeps_its_two_decays_on_replicas():
    """Keras' own has one for matrices and one for the rest."""
    weights = []
    for changed in (lambda optimizer: None, update_on_each_replica):
        optimizer = keras.optimizers.Muon(0.1, weight_decay=0.5, adam_weight_decay=0.1)
        matrix, vector = keras.Variable(np.ones((2, 2), "float32")), keras.Variable(np.ones(3, "float32"))
        optimizer.build([matrix, vector])
        changed(optimizer)
        optimizer._apply_weight_decay([matrix, vector])
        weights.append(values([matrix, vector]))
    np.testing.assert_allclose(weights[0][0], np.full((2, 2), 0.95), rtol=1e-6)
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_and_survives_its_configuration(name):
    settings = {"name": name, **({"schedule": "constant"} if name == "schedule_free" else {})}
    pretrainer = tiny_pretrainer([MMLM()], size=TWO_LAYERS, learning_rate=3e-3, optimizer=settings)
    batch = {"mmlm": joint_batch(np.random.default_rng(0))["mmlm"]}
    losses = [float(pretrainer.train_on_batch(batch, return_dict=True)["loss"]) for _ in range(25)]
    assert losses[-1] < losses[0] - 0.1
    again = optimizer_from_config(optimizer_config(pretrainer.optimizer))
    assert type(again) is type(pretrainer.optimizer) and again.get_config() == pretrainer.optimizer.get_config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0.0, 0, 10), "learning_rate = 0.0: must be positive"),
        ((1e-3, 10, 10), "warmup_steps = 10.*below steps = 10"),
        ((1e-3, -1, 10), "warmup_steps = -1.*at least 0"),
    ],
)
def test_bad_schedule(settings, message):
    with pytest.raises(InputError, match=message):
        WarmupLinearDecay(*settings)


def test_clipping():
    generator = np.random.default_rng(0)
    parts = {name: generator.normal(size=shape) for name, shape in {"a": (3, 4), "b": (5,), "c": ()}.items()}
    tensors = [ops.convert_to_tensor(part, "float32") for part in parts.values()]
    expected_norm = oracle.clipped(parts, None)[1]
    norm = global_norm(tensors)
    assert float(norm) == pytest.approx(expected_norm, rel=1e-6)
    for limit in (0.1, 1.0, expected_norm * 2, None):
        expected, _ = oracle.clipped(parts, limit)
        for actual, part in zip(clip_by_norm(tensors, norm, limit), expected.values(), strict=True):
            np.testing.assert_allclose(actual, part, rtol=1e-5)


def test_norm_of_half_precision_gradients_does_not_overflow():
    gradients = [ops.full((4,), 300.0, dtype="float16"), ops.full((4,), 400.0, dtype="float16")]
    assert float(global_norm(gradients)) == pytest.approx(1000.0)


@pytest.mark.parametrize("shape", [(30_001, 768), (0,), (), (1024,), (7, 5)])
def test_norm_of_a_table_is_exact_on_pytorch(shape):
    table = np.random.default_rng(3).standard_normal(shape, dtype=np.float32)
    bias = np.full(5, 1e-3, np.float32)
    # NumPy adds pairwise, here in float64.
    expected = math.sqrt(np.square(table, dtype=np.float64).sum() + np.square(bias, dtype=np.float64).sum())
    norm = exact_global_norm([torch.from_numpy(table).clone(), torch.from_numpy(bias)])
    assert norm.dtype == torch.float32 and norm.shape == ()
    assert float(norm) == pytest.approx(expected, rel=1e-6)


def test_norm_of_equal_numbers_is_exact_on_pytorch():
    """Each sum is rounded in the same direction many times."""
    assert float(exact_global_norm([torch.full((2_000_000,), 0.1)])) == pytest.approx(100 * math.sqrt(2), rel=1e-6)


def test_norm_on_pytorch_of_half_precision_and_of_what_is_not_finite():
    half = [torch.full((4,), 300.0, dtype=torch.float16), torch.full((4,), 400.0, dtype=torch.bfloat16)]
    assert float(exact_global_norm(half)) == pytest.approx(1000.0)
    for number in (math.nan, math.inf):
        assert not math.isfinite(exact_global_norm([torch.ones(3000), torch.tensor([number])]))


def decays(name):
    """Biases, norms and their like do not decay; names are the last part of a variable's path."""
    return name in ("kernel", "embeddings", "query_projection")


@pytest.mark.parametrize(("clip_norm", "accumulation_steps"), [(0.05, 1), (None, 1), (0.05, 2)])
def test_three_updates(clip_norm, accumulation_steps):
    """Three whole training steps: the oracle gets gradients of the loss, and gives the new weights."""
    tasks = [MMLM(), XLCO(queue_length=12, universal_layer=1)]
    settings = {"size": TWO_LAYERS, "learning_rate": 0.01, "warmup_steps": 2, "total_steps": 6}
    options = {"clip_norm": clip_norm, "accumulation_steps": accumulation_steps, "loss_combination": "joint_count"}
    pretrainer = tiny_pretrainer(tasks, **settings, **options)
    variables = pretrainer.trainable_variables
    names = [f"{number} {variable.path}" for number, variable in enumerate(variables)]
    decayed = [name for name in names if decays(name.rsplit("/", 1)[-1])]
    start = dict(zip(names, values(variables), strict=True))
    optimizer = oracle.AdamW(start, decayed, beta_1=0.9, beta_2=0.98, epsilon=1e-6, weight_decay=0.01)
    token_embedding = next(name for name in names if name.endswith("token_embedding/embeddings"))
    generator = np.random.default_rng(1)
    for update in range(1, 4):
        batch = joint_batch(generator, mmlm=2 * accumulation_steps, tlm=0, xlco=3 * accumulation_steps)
        found = _update_gradients(pretrainer, batch, names)
        clipped, norm = oracle.clipped(found, clip_norm)
        assert clip_norm is None or norm > 2 * clip_norm
        before = dict(zip(names, values(variables), strict=True))
        rate = oracle.learning_rate_at(update, 0.01, 2, 6)
        expected = optimizer.step(before, clipped, rate, frozen_rows={token_embedding: PADDING_ID})

        logs = pretrainer.train_step((batch,))
        for name, variable in zip(names, variables, strict=True):
            moved = np.abs(expected[name] - before[name]).max()
            # Of the weight, and of how far it moved: float32 rounds the one, the gradient's arithmetic the other.
            tolerance = 1e-6 * np.abs(expected[name]).max() + 1e-4 * moved
            np.testing.assert_allclose(array(variable), expected[name], rtol=0, atol=tolerance, err_msg=name)
        assert int(pretrainer.optimizer.iterations) == update
        if update == 1:
            assert float(logs["gradient_norm"]) == pytest.approx(norm, rel=1e-4)


def _update_gradients(pretrainer, batch, names):
    """dict of the gradients of a whole update, micro-batch after micro-batch, without side effects on the queue."""
    queue = pretrainer.task("xlco").queue
    state = values(queue.variables)
    scales = pretrainer.scales(pretrainer.prediction_counts(batch), pretrainer.training_updates)
    total = dict.fromkeys(names, 0.0)
    for index in range(pretrainer.accumulation_steps):
        part = {
            task: {name: np.split(tensor, pretrainer.accumulation_steps)[index] for name, tensor in tensors.items()}
            for task, tensors in batch.items()
        }
        _, found = gradients(pretrainer, lambda model, part=part: model.forward(part, scales, training=True)[0])
        total = {name: total[name] + array(gradient) for name, gradient in zip(names, found, strict=True)}
        pretrainer.fill_tasks(part)
    for variable, value in zip(queue.variables, state, strict=True):
        variable.assign(value)
    return total


def test_what_decays():
    """With gradients of zero only decay moves a weight: by the factor 1 - rate * decay."""
    pretrainer = tiny_pretrainer([MMLM(), XLCO(queue_length=8)])
    optimizer = build_optimizer(0.1, total_steps=10, weight_decay=0.5)
    variables = pretrainer.trainable_variables
    optimizer.build(variables)
    before = values(variables)
    optimizer.apply([ops.zeros(variable.shape) for variable in variables], variables)
    rate = oracle.learning_rate_at(1, 0.1, 0, 10)
    for variable, value in zip(variables, before, strict=True):
        factor = 1 - rate * 0.5 if decays(variable.path.rsplit("/", 1)[-1]) else 1.0
        np.testing.assert_allclose(array(variable), factor * value, rtol=1e-6, err_msg=variable.path)
    decaying = sum(decays(variable.path.rsplit("/", 1)[-1]) for variable in variables)
    # Token and position embedding, six kernels a layer, the head's dense layer, the projection.
    assert decaying == 2 + 6 * 3 + 1 + 1


def test_padding_row_never_moves():
    """Neither gradients of the tied output nor decay move it; all other rows move."""
    pretrainer = tiny_pretrainer([MMLM(), TLM(), XLCO(queue_length=8)], learning_rate=0.05, size=TWO_LAYERS)
    embeddings = pretrainer.backbone.token_embedding.embeddings
    before = array(embeddings)
    generator = np.random.default_rng(2)
    for _ in range(3):
        pretrainer.train_step((joint_batch(generator),))
    rows = np.abs(array(embeddings) - before).min(axis=1)
    np.testing.assert_array_equal(array(embeddings)[PADDING_ID], before[PADDING_ID])
    assert (np.delete(rows, PADDING_ID) > 0).all()
    assert math.isclose(np.linalg.norm(before[PADDING_ID]), np.linalg.norm(array(embeddings)[PADDING_ID]))
