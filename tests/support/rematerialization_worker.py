"""Trains the same model with and without rematerialisation: `python rematerialization_worker.py RESULTS.json`."""

import json
import pathlib
import sys

import keras
import numpy as np
from keras import ops

from infoxlm_keras import TLM, XLCO
from infoxlm_keras.models import build_masked_lm
from infoxlm_keras.models.rematerialization import rematerialize_layers
from infoxlm_keras.training.pretrainer import InfoXLMPretrainer
from tiny_pretraining import TWO_LAYERS, VOCABULARY_SIZE, joint_batch

STEPS = 2


def train(dropout, again):
    """dict of the losses and norms of the steps, dropout's seeds at the end, and whether layers ran twice."""
    keras.utils.set_random_seed(3)
    masked_lm = build_masked_lm(TWO_LAYERS, VOCABULARY_SIZE, dropout=dropout)
    calls = []
    for layer in masked_lm.backbone.transformer_layers:
        if again:
            count_pure_calls(layer, calls)
    if again:
        rematerialize_layers(masked_lm.backbone)
    pretrainer = InfoXLMPretrainer(masked_lm, [TLM(), XLCO(queue_length=9, universal_layer=1)])
    pretrainer.compile(optimizer=keras.optimizers.AdamW(1e-2), jit_compile=False, run_eagerly=False)
    generator = np.random.default_rng(0)
    found = {"loss": [], "gradient_norm": []}
    for _ in range(STEPS):
        logs = pretrainer.train_on_batch(joint_batch(generator, mmlm=0, tlm=4, xlco=3), return_dict=True)
        for name, values in found.items():
            values.append(float(logs[name]))
    seeds = [ops.convert_to_numpy(each.value).tolist() for each in masked_lm.backbone.non_trainable_variables]
    return {**found, "seeds": seeds, "twice": ran_twice(pretrainer, calls)}


def ran_twice(pretrainer, calls):
    """Whether the backward pass computes the layers again: it calls them, or, on JAX, the program says so."""
    if keras.backend.backend() != "jax":
        # In a step (a traced one on TensorFlow) TLM calls two layers and XLCO's queries one.
        return len(calls) >= 2 * 3
    import jax

    pretrainer.jax_state_sync()
    groups = (
        pretrainer.trainable_variables,
        pretrainer.non_trainable_variables,
        pretrainer.optimizer.variables,
        pretrainer.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    batch = joint_batch(np.random.default_rng(0), mmlm=0, tlm=4, xlco=3)
    program = str(jax.make_jaxpr(pretrainer.train_step)(state, (batch,)))
    return "checkpoint" in program or "remat" in program


def count_pure_calls(layer, calls):
    """Notes each call of `layer` without side effects, as a backward pass makes it."""
    stateless_call = layer.stateless_call

    def counted(*arguments, **options):
        calls.append(layer.name)
        return stateless_call(*arguments, **options)

    layer.stateless_call = counted


def train_both():
    """(plain, rematerialised)."""
    plain = train(0.2, again=False)
    plain["without dropout"] = train(0.0, again=False)["loss"]
    return plain, train(0.2, again=True)


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(json.dumps(train_both()))
