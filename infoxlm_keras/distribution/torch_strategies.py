"""Strategies on PyTorch: there is one, one device."""

from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.errors import InputError


def choose(name: str, replicas: int | None, tpu: str | None) -> Distribution:
    """See `choose_distribution`."""
    if name not in ("auto", "one"):
        raise InputError(
            f"--strategy {name}: on PyTorch there is only one device (one, auto); set KERAS_BACKEND=tensorflow or jax"
        )
    import torch

    return Distribution(devices=("cuda:0" if torch.cuda.is_available() else "cpu",))
