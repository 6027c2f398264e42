"""Names of accelerators and topologies."""

import pytest

from infoxlm_keras.compilation.targets import CHIPS, parse_target
from infoxlm_keras.errors import InputError


@pytest.mark.parametrize(
    ("name", "platform", "chips"),
    [
        ("tpu:v5e:2x4", "tpu", 8),
        ("tpu:v4:2x2x1", "tpu", 4),
        ("tpu:v5p:4x4x4", "tpu", 64),
        ("gpu:h100:8", "gpu", 8),
        ("cpu:3", "cpu", 3),
    ],
)
def test_platform_and_number_of_chips(name, platform, chips):
    target = parse_target(name)
    assert (target.name, target.platform, target.chips) == (name, platform, chips)


@pytest.mark.parametrize("name", CHIPS)
def test_the_example_in_messages_is_a_topology(name):
    assert parse_target(f"{name}:{CHIPS[name].topology}").chips >= 4


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu:v5", "did you mean tpu:v5"),
        ("tpu:v5e", "for instance tpu:v5e:2x4"),
        ("tpu:v5e:0x4", "for instance tpu:v5e:2x4"),
        ("tpu:v5e:2x2x2x2", "for instance tpu:v5e:2x4"),
        ("gpu:h100:2x4", "for instance gpu:h100:8"),
        ("gpu:a100:8", "gpu:h100"),
        ("cpu:", "for instance cpu:8"),
        ("", "known: tpu:v4"),
        ("tpu:v5e:2x4\n", "for instance"),
    ],
)
def test_what_is_no_target_is_refused_with_an_example(name, message):
    with pytest.raises(InputError) as error:
        parse_target(name)
    assert str(error.value).startswith("--target") and message in str(error.value)
