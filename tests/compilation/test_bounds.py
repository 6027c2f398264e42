"""The milliseconds that a chip's peak rates bound a step to."""

import types

import pytest

from infoxlm_keras.commands.compile_step import report
from infoxlm_keras.distribution.chips import CHIPS


@pytest.mark.parametrize(("dtype", "seconds"), [("mixed_bfloat16", 1.0), ("float32", 989 / 495)])
def test_arithmetic_is_bound_by_the_peak_of_the_model_s_dtype(dtype, seconds):
    chip = CHIPS["gpu:h100"]
    facts = {"flops": chip.peak_flops, "traffic_bytes": 2 * chip.bandwidth}
    config = types.SimpleNamespace(
        model=types.SimpleNamespace(dtype=dtype),
        optimizer=types.SimpleNamespace(accumulation_steps=1),
        batch_sizes={"mmlm": 8},
    )
    program = types.SimpleNamespace(as_dict=lambda: facts)
    compiled = types.SimpleNamespace(program=program, trace_seconds=1.0, compile_seconds=1.0)
    found = report(config, types.SimpleNamespace(chip=chip, chips=1), compiled)
    assert found["arithmetic_seconds"] == pytest.approx(seconds) and found["traffic_seconds"] == pytest.approx(2.0)
