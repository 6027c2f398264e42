"""How the weights of the encoder are cut over devices (JAX): patterns of Keras paths, each with an axis a dimension.

The patterns match the key encoder and the optimizer's state too. What they do not name lies whole on every device:
layer norms, most biases, and the queue, of which every device needs all.
"""

import re

BATCH, MODEL = "batch", "model"

Axes = tuple[str | None, ...]

# Megatron's layout (Shoeybi et al. 2019): the first matrix of a block is cut by its outputs and the second by its
# inputs, so that each block needs one sum. The tied embedding is cut by its columns, because 4, 8 and 16 do not divide
# XLM-R's 250,002 pieces (2 * 3^2 * 17 * 19 * 43).
MODEL_PARALLEL: dict[str, Axes] = {
    r".*token_embedding/embeddings": (None, MODEL),
    r".*self_attention_layer/(query|key|value)/kernel": (None, MODEL, None),
    r".*self_attention_layer/(query|key|value)/bias": (MODEL, None),
    r".*self_attention_layer/attention_output/kernel": (MODEL, None, None),
    r".*feedforward_intermediate_dense/kernel": (None, MODEL),
    r".*feedforward_intermediate_dense/bias": (MODEL,),
    r".*feedforward_output_dense/kernel": (MODEL, None),
}

# Fully sharded data parallelism (Rajbhandari et al. 2020, ZeRO stage 3): every matrix is cut along the axis of the
# batch, by a dimension that the encoder's width or its feed-forward layer's gives.
FSDP: dict[str, Axes] = {
    r".*token_embedding/embeddings": (None, BATCH),
    r".*self_attention_layer/(query|key|value)/kernel": (BATCH, None, None),
    r".*self_attention_layer/attention_output/kernel": (None, None, BATCH),
    r".*feedforward_intermediate_dense/kernel": (None, BATCH),
    r".*feedforward_output_dense/kernel": (BATCH, None),
}


def axes_of(path: str, layouts: dict[str, Axes]) -> Axes | None:
    """The axes of the variable at the Keras path `path`; None if it lies whole on every device.

    >>> axes_of("backbone/token_embedding/embeddings", FSDP)
    (None, 'batch')
    """
    return next((axes for pattern, axes in layouts.items() if re.fullmatch(pattern, path)), None)
