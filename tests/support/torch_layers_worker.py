"""Compares the Transformer layers of the PyTorch step with Keras' own: `python torch_layers_worker.py RESULTS.json`.

KERAS_BACKEND is torch. Written are relative errors, and which functions of PyTorch were called how often.
"""

import contextlib
import json
import pathlib
import sys

import keras
import keras_hub
import numpy as np
import torch

from infoxlm_keras.losses.chunked_masked_lm import chunked_masked_lm_loss
from infoxlm_keras.losses.sampling import chunked_sampled_pieces
from infoxlm_keras.losses.torch_masked_lm import masked_lm_loss_by_rows
from infoxlm_keras.models import build_masked_lm, torch_layers
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
    """Whether attention had a mask, for each call of PyTorch's function in a pass."""
    backbone = model()
    layers = compute_by_torch(backbone.transformer_layers)
    functional, masks = torch.nn.functional, []
    plain = functional.scaled_dot_product_attention

    def spy(*arguments, **options):
        masks.append(options.get("attn_mask") is not None)
        return plain(*arguments, **options)

    functional.scaled_dot_product_attention = spy
    try:
        with weights_cast_once(layers):
            backbone(inputs_of(6, padded), training=True)
    finally:
        functional.scaled_dot_product_attention = plain
    return masks


def seeded(dropout):
    backbone = model(dropout=dropout)
    for generator in (g for layer in backbone._flatten_layers() for g in getattr(layer, "_seed_generators", ())):
        generator._initial_seed = 1
    return backbone


def dropped():
    """Errors of states and gradients with dropout, computed again or not, and whether the seeds moved alike."""
    by_keras = seeded(0.3)
    expected = passes(by_keras, True)
    plain, again = seeded(0.3), seeded(0.3)
    rematerialize_layers(again)
    found = {"errors": [], "seeds": [], "moved": bool(np.abs(expected[0] - expected[1]).max() > 1e-2)}
    for backbone in (plain, again):
        found["errors"].append(error(passes(backbone, True, compute_by_torch(backbone.transformer_layers)), expected))
        pairs = zip(backbone.non_trainable_variables, by_keras.non_trainable_variables, strict=True)
        found["seeds"].append(all(torch.equal(one.value, other.value) for one, other in pairs))
    return found


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


def is_keras(change=None, before=None, dtype="float32", inputs=None, **options):
    """Whether states are those of Keras' layers to the last bit, within a step, after `change(backbone)`.

    `before(backbone)` comes before the layers are changed.
    """
    states = []
    for by_torch in (False, True):
        backbone = model(dtype)
        if before:
            before(backbone)
        layers = compute_by_torch(backbone.transformer_layers) if by_torch else []
        if change:
            change(backbone)
        with weights_cast_once(layers), torch.no_grad():
            states.append(backbone(inputs or inputs_of(6, True), training=False))
    return torch.equal(*states)


def left_to_keras():
    """dict of what is computed by Keras: all True but for the plain case."""
    found = {"plain": is_keras(), "lora": is_keras(lambda backbone: backbone.enable_lora(2))}
    found["quantized"] = is_keras(lambda backbone: backbone.quantize("int8"))
    keras.config.disable_flash_attention()
    try:
        found["without kernels"] = is_keras()
    finally:
        keras.config.enable_flash_attention()
    return found


def lora_trains():
    """Two backward passes through one step with LoRA: the largest gradient of its kernels."""
    backbone = model()
    backbone.enable_lora(2)
    layers = compute_by_torch(backbone.transformer_layers)
    with weights_cast_once(layers):
        for _ in range(2):
            backbone(inputs_of(6, True), training=True).square().sum().backward()
    gradients = [weight.value.grad for weight in backbone.trainable_variables if "lora" in weight.path]
    return max(float(gradient.abs().max()) for gradient in gradients if gradient is not None)


def others_stay():
    """Whether layers that are no layers of XLM-R keep their own `call`."""
    relu, unbuilt, first = (
        keras_hub.layers.TransformerEncoder(24, 2, **options)
        for options in ({}, {"activation": "gelu"}, {"activation": "gelu", "normalize_first": True})
    )
    for layer in (relu, first):
        layer.build((None, None, 16))

    class Own(keras_hub.layers.TransformerEncoder):
        pass

    own = Own(24, 2, activation=lambda x: keras.activations.gelu(x, approximate=False))
    own.build((None, None, 16))
    tanh = keras_hub.layers.TransformerEncoder(24, 2, activation=lambda x: keras.activations.gelu(x, approximate=True))
    tanh.build((None, None, 16))
    return not compute_by_torch([relu, unbuilt, first, own, tanh, keras.layers.Dense(3)])


def outside_of_a_step():
    """Errors of a model whose layers were changed, after a step and in inference mode."""
    backbone = model()
    expected = backbone(inputs_of(6, True), training=False).detach()
    with weights_cast_once(compute_by_torch(backbone.transformer_layers)):
        pass
    with torch.inference_mode():
        found = backbone(inputs_of(6, True), training=False)
    again = backbone(inputs_of(6, True), training=False).detach()
    return [float((states - expected).abs().max()) for states in (found, again)]


def padded_rows():
    """Error against Keras of a row that is nothing but padding."""
    inputs = inputs_of(6, True)
    inputs["padding_mask"][1] = 0
    backbone = model()
    expected = backbone(inputs, training=True)
    with weights_cast_once(compute_by_torch(backbone.transformer_layers)):
        found = backbone(inputs, training=True)
    return float((found - expected).detach().abs().max())


def mask_dtypes():
    """Of one mask in the precisions of two models."""
    step, mask = torch_layers._Step(), inputs_of(6, True)["padding_mask"]
    return [str(step.attention_mask(mask, dtype).dtype) for dtype in (torch.float32, torch.bfloat16, torch.float32)]


def empty():
    backbone = model()
    inputs = {name: tensor[:0] for name, tensor in inputs_of(6, True).items()}
    with weights_cast_once(compute_by_torch(backbone.transformer_layers)):
        return list(backbone(inputs, training=True).shape)


def added_rows():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 9, (200,), generator=generator)
    rows = torch.randn(200, 3, generator=generator)
    start = torch.randn(9, 3, generator=generator)
    total = start.clone()
    add_rows(total, ids, rows)
    expected = start.double() + torch.zeros(9, 3).double().index_add_(0, ids, rows.double())
    return float((total - expected).abs().max())


def last_pieces_drawn():
    """How often a piece without probability is drawn in bfloat16, by chunks, and how many pieces are drawn."""
    generator = torch.Generator().manual_seed(0)
    features = (4.0 * torch.randn(300, 16, generator=generator)).bfloat16()
    table, bias = torch.randn(999, 16, generator=generator), torch.randn(999, generator=generator)
    bias[-1] = -100.0
    # Most near to 1, but for rounding of float32.
    uniforms = (1.0 - torch.rand(300, generator=generator).pow(4)).clamp_max(0.9999)
    loss = chunked_masked_lm_loss(features, table, bias, torch.zeros(300, dtype=torch.int32), torch.ones(300), 100)
    pieces = chunked_sampled_pieces(features, table, bias, loss.log_sum, uniforms, 100)
    return int((pieces == 998).sum()), int(len(pieces.unique()))


def compiled_loss():
    """Error of the masked-LM loss and its gradients that `torch.compile` made, for chunks of two sizes."""
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(*shape, generator=generator) for shape in ((9, 8), (37, 8), (37,))]
    ids = torch.randint(0, 37, (9,), generator=generator, dtype=torch.int32)
    results = []
    for compiled in (False, True):
        for rows in (4, 100):
            leaves = [value.clone().requires_grad_() for value in values]
            with compiling(compiled):
                loss = masked_lm_loss_by_rows(*leaves, ids, torch.ones(9), rows).loss_sum
            loss.backward()
            results.append([loss.detach().numpy(), *(leaf.grad.numpy() for leaf in leaves)])
    return float(max(error(found, results[0]) for found in results[1:]))


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
        "left to Keras": left_to_keras(),
        "lora": lora_trains(),
        "others stay": others_stay(),
        "outside": outside_of_a_step(),
        "padded rows": padded_rows(),
        "empty": empty(),
        "mask dtypes": mask_dtypes(),
        "compiled loss": compiled_loss(),
        "last pieces drawn": last_pieces_drawn(),
        "added_rows": added_rows(),
    }
    pathlib.Path(path).write_text(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1])
