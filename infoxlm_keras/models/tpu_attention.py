"""Attention of Transformer layers on TPUs under JAX: a kernel that never stores the scores.

It is JAX's splash attention. Keras 3.15 calls that kernel too, but not so that it can be used here: of a mask whose
values are known (no compilation) it takes the first row of the batch for all rows, without a mask it attends to
earlier tokens alone, and a mask whose values are not known keeps it from the kernel. Here padding is given to the
kernel as another segment, and what does not suit the kernel is computed from scores.
`tests/models/test_tpu_attention.py` fails when Keras does better.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from infoxlm_keras.annotations import Tensor

# A TPU's vector registers have 128 lanes, into which the kernel cuts the keys.
LANES = 128
# Queries and keys that the kernel has in its memory at once: the largest of these that divides the length.
BLOCKS = (512, 384, 256, 128)

# What the kernel's results are called in a policy of `jax.checkpoint`.
RESULTS = "splash_attention"

_target: str | None = None


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Context in which `platform` (a function here) answers `platform` (str): programs are compiled for it."""
    global _target
    _target = platform
    try:
        yield
    finally:
        _target = None


def platform() -> str:
    """The kind of device that JAX's programs run on: "cpu", "gpu" or "tpu"; on another backend ""."""
    if keras.backend.backend() != "jax":
        return ""
    if _target is not None:
        return _target
    import jax

    return jax.devices()[0].platform


def on_tpu() -> bool:
    """Whether JAX's programs run on a TPU."""
    return platform() == "tpu"


def attend_on_tpu(layer: keras.layers.Layer) -> None:
    """Makes the attention of a KerasHub `TransformerEncoder` right on TPUs, and fast where the kernel takes it.

    The kernel is taken in bfloat16, where no score is dropped, for lengths that are multiples of 128 and masks that
    are the same for all queries of a sequence, as padding masks are, on one device or where each device runs its part
    of the step by itself (`distribution.jax_replicas`).
    """
    attention = layer._self_attention_layer
    of_keras = attention._compute_attention
    if isinstance(of_keras, functools.partial):
        return
    # Keras' documentation names this method as the place for another computation.
    attention._compute_attention = functools.partial(
        _compute_attention, attention, of_keras, _lies_on_one_device(attention._query_dense.kernel)
    )


def splash_attention(
    query: Tensor, key: Tensor, value: Tensor, is_token: Tensor, scale: float, interpret: bool = False
) -> Tensor:
    """Attention by the kernel.

    Args:
        query, key, value: [batch, length, heads, head_dim], the length a multiple of 128.
        is_token: bool or int [batch, length], whether a key is attended to.
        scale: float, factor of the scores.
        interpret: bool, compute what the kernel computes on another device, for tests.

    Returns:
        As `query`.

    Source: `jax.experimental.pallas.ops.tpu.splash_attention`.
    """
    import jax
    import jax.numpy as jnp
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel, splash_attention_mask

    batch, length, heads, _ = query.shape
    block = next(block for block in BLOCKS if length % block == 0)
    kernel = splash_attention_kernel.make_splash_mha(
        splash_attention_mask.MultiHeadMask([splash_attention_mask.FullMask((length, length))] * heads),
        block_sizes=splash_attention_kernel.BlockSizes(
            block_q=block, block_kv=block, block_q_dkv=block, block_kv_dkv=block, use_fused_bwd_kernel=True
        ),
        head_shards=1,
        q_seq_shards=1,
        residual_checkpoint_name=RESULTS,
        interpret=interpret,
    )
    # Queries attend to keys of their own segment: all of them, those of padding too, to the tokens.
    segments = splash_attention_kernel.SegmentIds(
        q=jnp.ones([batch, length], jnp.int32), kv=jnp.asarray(is_token, jnp.int32)
    )
    query, key, value = (jnp.swapaxes(part, 1, 2) for part in (query * scale, key, value))
    return jnp.swapaxes(jax.vmap(kernel)(query, key, value, segment_ids=segments), 1, 2)


def _compute_attention(
    layer,
    of_keras,
    one_device,
    query,
    key,
    value,
    attention_mask=None,
    training=None,
    return_attention_scores=False,
    **options,
):
    if not on_tpu() or layer.dropout or return_attention_scores or options:
        # Keras computes these from scores, too.
        return of_keras(query, key, value, attention_mask, training, return_attention_scores, **options)
    scale = layer._inverse_sqrt_key_dim
    # [batch, 1, keys] is a mask for all queries, [batch, queries, keys] one for each.
    if _suits_kernel(query, one_device) and (attention_mask is None or attention_mask.shape[1] == 1):
        is_token = ops.ones(query.shape[:2], "bool") if attention_mask is None else attention_mask[:, 0]
        return splash_attention(query, key, value, is_token, scale), None
    mask = None if attention_mask is None else ops.cast(ops.expand_dims(attention_mask, 1), "bool")
    return ops.dot_product_attention(query, key, value, mask=mask, scale=scale, flash_attention=False), None


def _suits_kernel(query: Any, one_device: bool) -> bool:
    import jax

    length = query.shape[1]
    if isinstance(query, keras.KerasTensor) or not length or length % LANES or query.dtype != "bfloat16":
        return False
    # The compiler cannot cut the kernel over devices by itself.
    by_itself = jax.sharding.get_abstract_mesh().manual_axes
    return bool(by_itself) or (one_device and keras.distribution.distribution() is None)


def _lies_on_one_device(variable):
    sharding = getattr(variable.value, "sharding", None)
    return len(getattr(sharding, "device_set", ())) < 2
