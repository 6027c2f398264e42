"""Compares the Transformer layers of the PyTorch step with Keras' own: `python torch_layers_worker.py RESULTS.json`.

KERAS_BACKEND is torch. Written are relative errors, and which functions of PyTorch were called how often.
"""

import contextlib
import json
import pathlib
import sys

import keras
import numpy as np
import torch

from infoxlm_keras.models import build_masked_lm
from infoxlm_keras.models.rematerialization import rematerialize_layers
from infoxlm_keras.models.torch_layers import compute_by_torch, weights_cast_once
from infoxlm_keras.models.torch_program import compiling
from infoxlm_keras.models.torch_table import add_rows, added_in_place, look_up_in_place
from tiny_pretraining import TWO_LAYERS

VOCABULARY = 50
LENGTHS = (7, 12, 5)


def model(dtype="float32", dropout=0.0):
    keras.utils.set_random_seed(5)
    backbone = build_masked_lm(TWO_LAYERS, VOCABULARY, dropout=dropout, dtype=dtype).backbone
    generator = np.random.default_rng(1)
    for weight in backbone.trainable_variables:
        # The same in each dtype, with biases and gains that differ from 0 and 1.
        numbers = generator.normal(float("gamma" in weight.path), 0.2, weight.shape)
        weight.assign(torch.tensor(numbers.astype("float32"), dtype=getattr(torch, weight.dtype)))
    return backbone


def inputs_of(length, padded, batch=3):
    generator = np.random.default_rng(length)
    mask = np.ones((batch, length), "int32")
    if padded:
        mask[1, length // 2 :] = 0
    ids = generator.integers(0, VOCABULARY, (batch, length)).astype("int32")
    return {"token_ids": torch.tensor(ids), "padding_mask": torch.tensor(mask)}


def passes(backbone, padded, layers=(), compiled=False, batch=3):
    """Outputs of two training passes and of one without gradients for each length, then all gradients, in float64."""
    table = backbone.token_embedding.embeddings.value
    for weight in backbone.trainable_variables:
        weight.value.grad = None
    found = []
    in_place = added_in_place(table) if layers else contextlib.nullcontext()
    with weights_cast_once(layers), in_place, compiling(compiled):
        for length in LENGTHS:
            inputs = inputs_of(length, padded, batch)
            for factor in (1.0, 0.5):
                states = backbone(inputs, training=True)
                # Weights that make no gradient vanish.
                factors = torch.linspace(-1, 1, states.numel()).reshape(states.shape)
                (factor * (states.float() * factors).sum()).backward()
                found.append(states)
            with torch.no_grad():
                found.append(backbone(inputs, training=False))
    # The gradient of the keys' bias is 0 but for rounding.
    weights = [weight for weight in backbone.trainable_variables if "key/bias" not in weight.path]
    found += [weight.value.grad for weight in weights]
    return [tensor.detach().double().numpy() for tensor in found]


def error(found, expected):
    return max(np.linalg.norm(one - other) / np.linalg.norm(other) for one, other in zip(found, expected, strict=True))


def errors(dtype, padded, compiled=False, batch=3):
    """[error of Keras' layers, error of ours], both against float64."""
    expected = passes(model("float64"), padded, batch=batch)
    by_keras = error(passes(model(dtype), padded, batch=batch), expected)
    backbone = model(dtype)
    look_up_in_place(backbone.token_embedding)
    layers = compute_by_torch(backbone.transformer_layers)
    return [by_keras, error(passes(backbone, padded, layers, compiled, batch), expected)]


def calls(padded):
    """How often a pass calls each function, and whether its attention has a mask."""
    backbone = model()
    compute_by_torch(backbone.transformer_layers)
    functional, masks = torch.nn.functional, []
    plain = functional.scaled_dot_product_attention

    def spy(*arguments, **options):
        masks.append(options.get("attn_mask") is not None)
        return plain(*arguments, **options)

    functional.scaled_dot_product_attention = spy
    try:
        backbone(inputs_of(6, padded), training=True)
    finally:
        functional.scaled_dot_product_attention = plain
    return masks


def dropped():
    """[by Keras, by ours]: outputs of two passes with dropout, and the seeds' states after them."""
    results = []
    for by_torch in (False, True):
        backbone = model(dropout=0.3)
        for generator in (g for layer in backbone._flatten_layers() for g in getattr(layer, "_seed_generators", ())):
            generator._initial_seed = 1
        if by_torch:
            compute_by_torch(backbone.transformer_layers)
        outputs = [backbone(inputs_of(6, True), training=True).detach().numpy().tolist() for _ in range(2)]
        seeds = [np.asarray(seed.value).tolist() for seed in backbone.non_trainable_variables]
        results.append({"outputs": outputs, "seeds": seeds})
    return results


def rematerialized():
    """Error of layers that are computed again, whichever was asked for first."""
    expected = passes(model(), True)
    found = []
    for first in (True, False):
        backbone = model()
        layers = compute_by_torch(backbone.transformer_layers) if first else []
        rematerialize_layers(backbone)
        layers = layers or compute_by_torch(backbone.transformer_layers)
        found.append(error(passes(backbone, True, layers), expected))
    return found


def without_kernels():
    """Whether a layer is Keras' own where fused attention is switched off."""
    keras.config.disable_flash_attention()
    try:
        backbone = model()
        by_keras = passes(backbone, True)
        compute_by_torch(backbone.transformer_layers)
        return [np.array_equal(*pair) for pair in zip(by_keras, passes(backbone, True), strict=True)]
    finally:
        keras.config.enable_flash_attention()


def added_rows():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 9, (200,), generator=generator)
    rows = torch.randn(200, 3, generator=generator)
    start = torch.randn(9, 3, generator=generator)
    total = start.clone()
    add_rows(total, ids, rows)
    expected = start.double() + torch.zeros(9, 3).double().index_add_(0, ids, rows.double())
    return float((total - expected).abs().max())


def main(path):
    results = {
        "float32": [errors("float32", padded) for padded in (False, True)],
        "mixed_bfloat16": [errors("mixed_bfloat16", padded) for padded in (False, True)],
        # Sums over thousands of rows.
        "many_rows": [errors("mixed_bfloat16", True, batch=500)],
        "compiled": [errors("float32", padded, compiled=True) for padded in (False, True)],
        "full": calls(False),
        "padded": calls(True),
        "dropped": dropped(),
        "rematerialized": rematerialized(),
        "without_kernels": without_kernels(),
        "added_rows": added_rows(),
    }
    pathlib.Path(path).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
