"""A pretrainer of a few hundred weights, its batches, and its weights in the oracle's form."""

import dataclasses

import numpy as np
from keras import ops

from infoxlm_keras.models import EncoderSize, build_masked_lm
from infoxlm_keras.training.optimizer import build_optimizer
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer

VOCABULARY_SIZE = 50
TINY_SIZE = EncoderSize(num_layers=3, hidden_dim=8, num_heads=2, intermediate_dim=16, max_sequence_length=16)
TWO_LAYERS = dataclasses.replace(TINY_SIZE, num_layers=2)


def tiny_masked_lm(size=TINY_SIZE, dropout=0.0, dtype="float32", seed=0):
    """A masked-LM model whose every weight, biases and norms too, differs from its initial value."""
    masked_lm = build_masked_lm(size, VOCABULARY_SIZE, dropout=dropout, dtype=dtype)
    randomize(masked_lm.weights, seed)
    return masked_lm


def randomize(variables, seed=0, deviation=0.3):
    """Assigns normal values around 0, around 1 for a norm's gamma."""
    generator = np.random.default_rng(seed)
    for variable in variables:
        mean = 1.0 if variable.path.endswith("gamma") else 0.0
        variable.assign(generator.normal(mean, deviation, tuple(variable.shape)).astype("float32"))


def tiny_pretrainer(
    tasks, learning_rate=1e-3, total_steps=100, warmup_steps=0, jit_compile=False, seed=0, optimizer=None, **options
):
    """A compiled pretrainer of `tasks` with random weights.

    `size`, `dropout` and `dtype` go to the model, `optimizer` (dict) to `build_optimizer`, other options to the
    pretrainer.
    """
    model_options = {name: options.pop(name) for name in ("size", "dropout", "dtype") if name in options}
    pretrainer = InfoXLMPretrainer(tiny_masked_lm(seed=seed, **model_options), tasks, **options)
    xlco = pretrainer.task("xlco")
    if xlco is not None:
        if xlco.projection:
            randomize([xlco.query_projection], seed + 1)
        xlco.reset_key_encoder()
    dwa = pretrainer.task("dwa")
    if dwa is not None:
        randomize(dwa.trainable_variables, seed + 1)
        # All similarities that are not positive are replaced by one number: with many, rounding chooses among them.
        for layer in pretrainer.backbone.transformer_layers:
            layer._feedforward_layer_norm.beta.assign(array(layer._feedforward_layer_norm.beta) + 1.0)
    for name in ("mrtd", "trtd"):
        if pretrainer.task(name) is not None:
            # What only it has: with shared embeddings, those are the encoder's.
            known = {id(variable) for variable in pretrainer.masked_lm.weights}
            randomize([v for v in pretrainer.task(name).trainable_variables if id(v) not in known], seed + 2)
    made = build_optimizer(learning_rate, total_steps, warmup_steps, **(optimizer or {}))
    pretrainer.compile(optimizer=made, jit_compile=jit_compile)
    return pretrainer


def random_sequences(generator, batch_size, length):
    """(token_ids, padding_mask) int32 of 4 to `length` tokens: `<s> ... </s> <pad>...`."""
    token_ids = generator.integers(4, VOCABULARY_SIZE - 1, (batch_size, length))
    lengths = generator.integers(4, length + 1, (batch_size, 1))
    positions = np.arange(length)
    token_ids[:, 0] = 0
    token_ids = np.where(positions == lengths - 1, 2, np.where(positions < lengths, token_ids, 1))
    return token_ids.astype("int32"), (positions < lengths).astype("int32")


def masked_lm_batch(generator, batch_size, length, predictions=3):
    """A batch of MMLM or TLM; about one in four of its predictions is an unused slot."""
    token_ids, padding_mask = random_sequences(generator, batch_size, length)
    # Every sequence has ordinary tokens at positions 1 and 2 at least.
    ends = padding_mask.sum(axis=1, keepdims=True) - 1
    positions = generator.integers(1, ends, (batch_size, predictions))
    used = generator.random((batch_size, predictions)) < 0.75
    used[0, 0] = True
    mask_ids = generator.integers(4, VOCABULARY_SIZE - 1, (batch_size, predictions))
    return {
        "token_ids": token_ids,
        "padding_mask": padding_mask,
        "mask_positions": np.where(used, positions, 0).astype("int32"),
        "mask_ids": np.where(used, mask_ids, 0).astype("int32"),
        "mask_weights": used.astype("float32"),
    }


def translation_batch(generator, batch_size, length, predictions=4):
    """A batch of TLM, `<s> e </s> f </s> <pad>...`, masked at different positions; row 0 has a short sentence."""
    token_ids = np.ones((batch_size, length), "int32")
    batch = {
        "mask_positions": np.zeros((batch_size, predictions), "int32"),
        "mask_ids": np.zeros((batch_size, predictions), "int32"),
        "mask_weights": np.zeros((batch_size, predictions), "float32"),
    }
    for row in range(batch_size):
        first, second = (2, 4) if row == 0 else generator.integers(3, (length - 3) // 2 + 1, 2)
        pieces = generator.integers(4, VOCABULARY_SIZE - 1, first + second)
        sequence = [0, *pieces[:first], 2, *pieces[first:], 2]
        token_ids[row, : len(sequence)] = sequence
        ordinary = [place for place, token in enumerate(sequence) if token > 2]
        chosen = generator.permutation(ordinary)[: generator.integers(2, predictions + 1)]
        used = slice(0, len(chosen))
        batch["mask_positions"][row, used] = chosen
        batch["mask_ids"][row, used] = token_ids[row, chosen]
        batch["mask_weights"][row, used] = 1.0
        token_ids[row, chosen] = np.where(generator.random(len(chosen)) < 0.8, VOCABULARY_SIZE - 1, 7)
    return {"token_ids": token_ids, "padding_mask": (token_ids != 1).astype("int32"), **batch}


def pair_batch(generator, batch_size, length):
    """A batch of XLCO."""
    query_ids, query_mask = random_sequences(generator, batch_size, length)
    key_ids, key_mask = random_sequences(generator, batch_size, length)
    return {
        "query_token_ids": query_ids,
        "query_padding_mask": query_mask,
        "key_token_ids": key_ids,
        "key_padding_mask": key_mask,
    }


def with_draws(generator, batch):
    """A batch of MRTD or TRTD: that of masked LM at `batch`, which masks different positions, and uniform numbers."""
    return {**batch, "sample_uniforms": generator.random(batch["mask_ids"].shape, "float32")}


def embedding_batch(generator, samples, length, negatives=1, width=8):
    """A batch of sentence vectors: the last row fills it up, two queries are equal, and so are two documents."""
    query_ids, query_mask = random_sequences(generator, samples, length)
    document_ids, document_mask = random_sequences(generator, samples * (1 + negatives), length + 2)
    texts = np.arange(samples * (1 + negatives)).reshape(samples, 1 + negatives)
    texts[1, 0] = texts[0, -1]
    rights = np.stack([texts[:, 0], np.full(samples, -1)], axis=1)
    rights[1:3, 1] = texts[2, 0], texts[1, 0]
    teacher = generator.normal(size=(samples, width))
    return {
        "query_token_ids": query_ids,
        "query_padding_mask": query_mask,
        "document_token_ids": document_ids.reshape(samples, 1 + negatives, -1),
        "document_padding_mask": document_mask.reshape(samples, 1 + negatives, -1),
        "right_text": rights.astype("int32"),
        "document_text": texts.astype("int32"),
        "weights": (np.arange(samples) < samples - 1).astype("float32"),
        "teacher": (teacher / np.linalg.norm(teacher, axis=1, keepdims=True)).astype("float32"),
    }


def joint_batch(generator, mmlm=6, tlm=4, xlco=5, mrtd=0, trtd=0, training=0, pairs=False):
    """A batch of all tasks; a task of 0 samples is left out. With `pairs` TLM's sequences have two sentences."""
    batch = {}
    if mmlm:
        batch["mmlm"] = masked_lm_batch(generator, mmlm, 12)
    if tlm:
        batch["tlm"] = translation_batch(generator, tlm, 13) if pairs else masked_lm_batch(generator, tlm, 10)
    if xlco:
        batch["xlco"] = pair_batch(generator, xlco, 8)
    for name, samples, length in (("mrtd", mrtd, 14), ("trtd", trtd, 11)):
        if samples:
            batch[name] = with_draws(generator, translation_batch(generator, samples, length))
    if training:
        batch["training"] = embedding_batch(generator, training, 7)
    return batch


# === Gradients (TensorFlow) ===


def gradients(pretrainer, loss_of):
    """(loss, list of gradients or None) of `loss_of(pretrainer)` in the order of the trainable variables."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = loss_of(pretrainer)
    return loss, tape.gradient(loss, [variable.value for variable in pretrainer.trainable_variables])


def total_loss(pretrainer, batch):
    """The loss that the next `train_step` on `batch` minimises."""
    scales = pretrainer.scales(pretrainer.prediction_counts(batch), pretrainer.training_updates)
    return pretrainer.forward(batch, scales, training=False)[0]


# === Weights in the oracle's form ===


def array(variable):
    """A variable or tensor as a float64 array of its own."""
    return np.array(ops.convert_to_numpy(variable), np.float64)


def oracle_encoder(backbone, read=array):
    """The parameters of an `XLMRobertaBackbone` for `oracle.hidden_states`; `read` gives a variable's value."""

    def pair(layer, first="kernel", second="bias"):
        return read(getattr(layer, first)), read(getattr(layer, second))

    def layer_parameters(layer):
        attention = layer._self_attention_layer
        return {
            "query": pair(attention.query_dense),
            "key": pair(attention.key_dense),
            "value": pair(attention.value_dense),
            "output": pair(attention.output_dense),
            "attention_norm": pair(layer._self_attention_layer_norm, "gamma", "beta"),
            "intermediate": pair(layer._feedforward_intermediate_dense),
            "outer": pair(layer._feedforward_output_dense),
            "feedforward_norm": pair(layer._feedforward_layer_norm, "gamma", "beta"),
        }

    return {
        "token": read(backbone.token_embedding.embeddings),
        "position": read(backbone.embeddings.position_embedding.position_embeddings),
        "embedding_norm": pair(backbone.embeddings_layer_norm, "gamma", "beta"),
        "layers": [layer_parameters(layer) for layer in backbone.transformer_layers],
    }


def oracle_head(masked_lm, read=array):
    """The parameters of a masked-LM head for `oracle.masked_lm_loss_sum`."""
    weights = {variable.path.split("/", 1)[1]: read(variable) for variable in masked_lm.masked_lm_head.weights}
    return {
        "dense": (weights["intermediate_dense/kernel"], weights["intermediate_dense/bias"]),
        "norm": (weights["intermediate_layer_norm/gamma"], weights["intermediate_layer_norm/beta"]),
        "bias": weights["output_bias"],
    }


def values(variables):
    """List of float64 copies of variables."""
    return [array(variable) for variable in variables]


def state(pretrainer):
    """Copies of all variables but metrics: weights, key encoder, queue, counters, optimizer."""
    metrics = {id(variable) for variable in pretrainer.metrics_variables}
    variables = [*pretrainer.variables, *pretrainer.optimizer.variables]
    return [array(variable) for variable in variables if id(variable) not in metrics]


def assert_same(actual, expected):
    """Two lists of arrays are equal to the last bit."""
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(one, other)
