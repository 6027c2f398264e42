"""MRTD and TRTD against the NumPy oracle: draws, labels, losses, gradient; and their one generator."""

import math
import types

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

import oracle
from infoxlm_keras import MMLM, MRTD, TRTD, XLCO, InputError
from infoxlm_keras.config import check_config
from infoxlm_keras.losses.sampling import chunked_sampled_pieces, sampled_pieces
from quick_runs import quick_graphs
from tiny_pretraining import (
    TWO_LAYERS,
    array,
    gradients,
    oracle_encoder,
    oracle_head,
    pair_batch,
    tiny_pretrainer,
    translation_batch,
    with_draws,
)

TOLERANCE = 1e-5
KINDS = {"shared": {}, "own": {"shared_embeddings": False, "generator_layers": 2}, "chunks": {"max_logits": 700}}


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(3)
    sizes = {"mrtd": (8, 14), "trtd": (6, 11)}
    return {name: with_draws(generator, translation_batch(generator, *size)) for name, size in sizes.items()}


def made(**options):
    return tiny_pretrainer([MRTD(**options), TRTD(**options, weight=0.5)], loss_combination="sum_of_means")


def generator_parts(pretrainer, read=array):
    """(parameters, head) of the generator in the oracle's form."""
    generator = pretrainer.task("mrtd").generator
    embedded = pretrainer.backbone
    layers = [part for part in generator.parts if hasattr(part, "_self_attention_layer")]
    if not generator.shared_embeddings:
        embeddings, norm = generator.parts[:2]
        embedded = types.SimpleNamespace(
            token_embedding=embeddings.token_embedding, embeddings=embeddings, embeddings_layer_norm=norm
        )
    whole = types.SimpleNamespace(
        token_embedding=embedded.token_embedding,
        embeddings=embedded.embeddings,
        embeddings_layer_norm=embedded.embeddings_layer_norm,
        transformer_layers=layers,
    )
    return oracle_encoder(whole, read), oracle_head(generator, read)


def detection(task, read=array):
    return [(read(layer.kernel), read(layer.bias)) for layer in (task.detection_dense, task.detection_output)]


def by_oracle(pretrainer, batch, corrupted, read=array):
    """(sums, counts, right ones) by name of loss; `corrupted` maps a task to (ids, replaced)."""
    sums, counts, right = {}, {}, {}
    generator = generator_parts(pretrainer, read)
    encoder = oracle_encoder(pretrainer.backbone, read)
    for name, part in batch.items():
        head, mask = detection(pretrainer.task(name), read), part["padding_mask"]
        found = oracle.replaced_token_detection(encoder, head, *corrupted[name], mask)
        sums[name], counts[name], right[name] = found
        generated = f"{name}.generator"
        sums[generated], counts[generated] = oracle.masked_lm_loss_sum(*generator, part), part["mask_weights"].sum()
        guesses = oracle.masked_lm_logits(*generator, part).argmax(axis=-1) == part["mask_ids"]
        right[generated] = (guesses * part["mask_weights"]).sum()
    return sums, {name: float(count) for name, count in counts.items()}, right


@pytest.mark.parametrize("kind", KINDS)
def test_draws_labels_and_losses_are_the_oracles(batch, kind):
    pretrainer = made(**KINDS[kind])
    assert pretrainer.task("mrtd").generator is pretrainer.task("trtd").generator
    assert pretrainer.task("mrtd").generator.num_layers == KINDS[kind].get("generator_layers", 1)
    generator = generator_parts(pretrainer)
    # Some masked tokens are what the generator draws, and so count as original.
    batch = {name: {key: value.copy() for key, value in part.items()} for name, part in batch.items()}
    for part in batch.values():
        drawn, _ = oracle.replaced_tokens(*generator, part)
        for row in range(0, len(drawn), 2):
            part["mask_ids"][row, 0] = drawn[row, part["mask_positions"][row, 0]]
    corrupted = {name: oracle.replaced_tokens(*generator, part) for name, part in batch.items()}
    sums, counts, right = by_oracle(pretrainer, batch, corrupted)
    for name, part in batch.items():
        result = pretrainer.task(name).result(part, training=True)
        further = result.further["generator"]
        for found, key in ((result.as_dict(), name), (further, f"{name}.generator")):
            assert float(found["loss_sum"]) == pytest.approx(sums[key], rel=TOLERANCE)
            assert (float(found["count"]), float(found["correct_sum"])) == (counts[key], right[key])
        replaced = corrupted[name][1]
        assert 0 < replaced.sum() < part["mask_weights"].sum()
        assert float(result.averages["original_share"]) == counts[name] - replaced.sum()

    logs = pretrainer.test_step((batch,))
    weights = {"mrtd": 50.0, "mrtd.generator": 1.0, "trtd": 25.0, "trtd.generator": 0.5}
    expected = oracle.combined(sums, counts, weights, "sum_of_means")
    assert float(logs["loss"]) == pytest.approx(expected, rel=TOLERANCE)
    for name in batch:
        assert float(logs[f"{name}_accuracy"]) == pytest.approx(right[name] / counts[name])
        generated = f"{name}.generator"
        assert float(logs[f"{name}_generator_loss"]) == pytest.approx(sums[generated] / counts[generated], rel=1e-5)
        assert float(logs[f"{name}_generator_accuracy"]) == pytest.approx(right[generated] / counts[generated])
        # Most tokens are originals, so `log 2 - loss` bounds no information.
        assert f"{name}_mi_lower_bound" not in logs


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_the_oracles_slope(batch, kind):
    """Of all four losses; none flows through the draws."""
    pretrainer = made(**KINDS[kind])
    variables = pretrainer.trainable_variables
    scales = pretrainer.scales(pretrainer.prediction_counts(batch), pretrainer.training_updates)
    # In training only, chunks have gradients.
    _, actual = gradients(pretrainer, lambda model: model.forward(batch, scales, training=True)[0])
    # The encoder's own masked-LM head is not used.
    unused = [v.path for v, part in zip(variables, actual, strict=True) if part is None]
    assert unused and all(path.startswith("mlm_head/") for path in unused)
    actual = [np.zeros(v.shape) if part is None else array(part) for v, part in zip(variables, actual, strict=True)]
    start = [array(variable) for variable in variables]
    generator = generator_parts(pretrainer)
    corrupted = {name: oracle.replaced_tokens(*generator, part) for name, part in batch.items()}
    weights = {"mrtd": 50.0, "mrtd.generator": 1.0, "trtd": 25.0, "trtd.generator": 0.5}

    def loss_at(step, direction):
        moved = {id(v): base + step * way for v, base, way in zip(variables, start, direction, strict=True)}
        sums, counts, _ = by_oracle(pretrainer, batch, corrupted, lambda variable: moved[id(variable)])
        return oracle.combined(sums, counts, weights, "sum_of_means")

    norm = math.sqrt(sum((part**2).sum() for part in actual))
    generator = np.random.default_rng(8)
    for direction in ([generator.normal(size=base.shape) for base in start], [part / norm for part in actual]):
        step = 1e-6
        slope = (loss_at(step, direction) - loss_at(-step, direction)) / (2 * step)
        found = sum((part * way).sum() for part, way in zip(actual, direction, strict=True))
        assert math.isclose(found, slope, rel_tol=TOLERANCE, abs_tol=TOLERANCE * norm)


@hypothesis.settings(max_examples=15)
@hypothesis.given(strategies.integers(2, 400), strategies.integers(0, 2**31), strategies.integers(1, 400))
def test_a_draw_inverts_the_distribution(vocabulary, seed, chunk):
    """Each number lies in its piece's part of the distribution, by chunks as well; so do the smallest and largest."""
    generator = np.random.default_rng(seed)
    features, table = generator.normal(0, 1, (9, 4)), generator.normal(0, 1, (vocabulary, 4))
    bias, uniforms = generator.normal(0, 2, vocabulary), generator.random(9)
    uniforms[:2] = 0.0, 1.0 - 2.0**-24
    logits = features @ table.T + bias
    ends = np.cumsum([oracle.softmax(row) for row in logits], axis=1)
    starts = np.concatenate([np.zeros((9, 1)), ends[:, :-1]], axis=1)
    logits, features, table, bias, numbers = (
        tf.constant(value, "float32") for value in (logits, features, table, bias, uniforms)
    )
    log_sum = tf.reduce_logsumexp(logits, axis=1)
    for pieces in (
        sampled_pieces(logits, numbers),
        chunked_sampled_pieces(features, table, bias, log_sum, numbers, min(chunk, vocabulary)),
    ):
        rows, pieces, rounding = np.arange(9), pieces.numpy(), 1e-5
        assert np.all(starts[rows, pieces] <= uniforms + rounding) and np.all(
            uniforms <= ends[rows, pieces] + rounding
        )


def test_the_draws_follow_the_distribution():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], "float32"))
    uniforms = np.random.default_rng(0).random(20_000, "float32")
    drawn = sampled_pieces(tf.constant(np.tile(logits, (20_000, 1))), tf.constant(uniforms)).numpy()
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, np.exp(logits), atol=0.01)


def test_beside_xlco_it_learns_and_leaves_an_xlm_r(batch):
    """Detection accuracy rises above the share of originals; nothing of it is in the encoder."""
    tasks = [MRTD(), XLCO(queue_length=8, universal_layer=1)]
    pretrainer = tiny_pretrainer(tasks, size=TWO_LAYERS, learning_rate=0.02)
    names = [weight.path for weight in pretrainer.masked_lm.weights]
    assert names == [weight.path for weight in tiny_pretrainer([MMLM()], size=TWO_LAYERS).masked_lm.weights]
    whole = {"mrtd": batch["mrtd"], "xlco": pair_batch(np.random.default_rng(1), 4, 8)}
    whole = tf.nest.map_structure(tf.constant, whole)
    with quick_graphs():
        step = tf.function(pretrainer.train_step, autograph=False)
        for _ in range(40):
            pretrainer.reset_metrics()
            logs = step((whole,))
    assert float(logs["mrtd_accuracy"]) > float(logs["mrtd_original_share"]) + 0.05
    assert float(logs["mrtd_generator_accuracy"]) > 0.3


def test_what_is_refused():
    with pytest.raises(InputError, match="trtd: generator_layers = 2 .* generator has 1"):
        tiny_pretrainer([MRTD(), TRTD(generator_layers=2)])
    with pytest.raises(InputError, match="mrtd.detection_weight = 0"):
        MRTD(detection_weight=0)
    with pytest.raises(InputError, match="trtd.generator_layers = 0"):
        TRTD(generator_layers=0)
    with pytest.raises(InputError, match="mrtd.detection_weight = -1"):
        check_config({"mrtd": {"detection_weight": -1}})
