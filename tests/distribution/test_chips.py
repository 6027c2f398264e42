"""Peaks of accelerators by the names that JAX, TensorFlow and PyTorch have for them."""

import pytest

from infoxlm_keras.compilation.targets import CHIPS as COMPILED_FOR
from infoxlm_keras.distribution import Distribution
from infoxlm_keras.distribution.chips import CHIPS, peak_flops_of, peak_flops_of_run


@pytest.mark.parametrize(
    ("name", "half", "single"),
    [
        ("TPU v4", 275e12, 275e12),
        ("TPU v5 lite", 197e12, 197e12),
        ("TPU v5", 459e12, 459e12),
        ("TPU v5p", 459e12, 459e12),
        ("TPU v6 lite", 918e12, 918e12),
        ("NVIDIA A100-SXM4-40GB", 312e12, 156e12),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None),
        ("NVIDIA H100 80GB HBM3", 989e12, 495e12),
        ("NVIDIA H200", 989e12, 495e12),
        # Boards with other clocks, and what is not known.
        ("NVIDIA H100 PCIe", None, None),
        ("NVIDIA H200 NVL", None, None),
        ("TPU v99", None, None),
        (None, None, None),
    ],
)
def test_peaks(name, half, single):
    assert peak_flops_of(name, "mixed_bfloat16") == half and peak_flops_of(name, "float32") == single


def test_the_peak_of_a_run_is_that_of_all_its_devices():
    assert peak_flops_of_run("float32") is None
    with Distribution("mirrored", 4, ("a", "b", "c", "d")).scope():
        assert peak_flops_of_run("float32", 100.0) == 400e12
    assert peak_flops_of_run("float32", 100.0) == 100e12


def test_there_is_one_table():
    assert all(COMPILED_FOR[name] is CHIPS[name] for name in COMPILED_FOR)
