"""Accelerators, and what their makers state of them: memory, arithmetic, bandwidth."""

from __future__ import annotations

import dataclasses
import re

import keras

from infoxlm_keras.distribution.current import current_distribution

GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What the makers state of one chip.

    Attributes:
        memory: int, bytes of high-bandwidth memory.
        peak_flops: float, bfloat16 operations a second, dense.
        bandwidth: float, bytes of memory traffic a second.
        topology: str, an example of a topology, for messages.
        accelerator_type: str, what a TPU's metadata would say; empty for GPUs.
        device_name: str, a regular expression for the name that JAX, TensorFlow or PyTorch has for the device.
        peak_flops_float32: float, operations a second of float32 matrix products; of TF32 on GPUs. TPUs compute
            them in bfloat16, unless a higher precision is asked for.
    """

    memory: int
    peak_flops: float
    bandwidth: float
    topology: str
    accelerator_type: str = ""
    device_name: str = ""
    peak_flops_float32: float = 0.0


# Cloud TPU's and NVIDIA's own pages. H100 and H200: SXM boards, dense arithmetic; other boards have other peaks.
CHIPS = {
    "tpu:v4": Chip(32 * GIB, 275e12, 1228e9, "2x2x1", "v4-8", r"TPU v4", 275e12),
    "tpu:v5e": Chip(16 * GIB, 197e12, 819e9, "2x4", "v5litepod-8", r"TPU v5( lite|e)", 197e12),
    "tpu:v5p": Chip(95 * GIB, 459e12, 2765e9, "2x2x1", "v5p-8", r"TPU v5p?", 459e12),
    "tpu:v6e": Chip(32 * GIB, 918e12, 1640e9, "2x4", "v6e-8", r"TPU v6( lite|e)", 918e12),
    "gpu:a100": Chip(80 * 10**9, 312e12, 2039e9, "8", "", r"(NVIDIA )?A100(?!.*MIG).*", 156e12),
    "gpu:h100": Chip(80 * 10**9, 989e12, 3352e9, "8", "", r"NVIDIA H100 80GB HBM3", 495e12),
    "gpu:h200": Chip(141 * 10**9, 989e12, 4800e9, "8", "", r"NVIDIA H200", 495e12),
    "cpu": Chip(0, 0.0, 0.0, "8"),
}


def peak_flops_of(device_name: str | None, dtype: str) -> float | None:
    """Peak operations a second of the device called `device_name`, or None if it is not in `CHIPS`.

    Args:
        device_name: str or None, as JAX, TensorFlow or PyTorch call it.
        dtype: str, dtype policy of the model: "float32", "mixed_bfloat16" or "mixed_float16".

    Example:
    ```python
    peak_flops_of("TPU v5 lite", "mixed_bfloat16")  # 1.97e14
    ```
    """
    for chip in CHIPS.values():
        if device_name and chip.device_name and re.fullmatch(chip.device_name, device_name):
            return chip.peak_flops_float32 if dtype == "float32" else chip.peak_flops
    return None


def own_device_name() -> str | None:
    """The name of the accelerator that this process trains on; None on CPUs, and for TPUs under TensorFlow."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name") if gpus else None
    return None


def peak_flops_of_run(dtype: str, peak_tflops: float | None = None) -> float | None:
    """Peak operations a second of all devices of the `current_distribution()`; None if it is not known.

    Args:
        dtype: str, see `peak_flops_of`.
        peak_tflops: optional float, the peak of one device in units of 10^12; None looks it up.
    """
    peak = peak_flops_of(own_device_name(), dtype) if peak_tflops is None else peak_tflops * 1e12
    return None if peak is None else peak * max(1, len(current_distribution().devices))
