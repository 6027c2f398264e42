"""Names of accelerators and topologies."""

import logging
import os

import jax
import pytest
from jax.experimental import topologies

from infoxlm_keras.compilation import targets
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


@pytest.fixture
def loaded_jax(monkeypatch):
    """JAX, imported before a target is prepared; what `prepare` sets is undone."""
    for name in ("JAX_PLATFORMS", "XLA_FLAGS", "TPU_SKIP_MDS_QUERY", "ALLOW_MULTIPLE_LIBTPU_LOAD"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "")
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "")
    before = jax.config.jax_platforms
    jax.config.update("jax_platforms", None)
    yield jax
    jax.config.update("jax_platforms", before)


@pytest.mark.parametrize("name", ["gpu:h100:8", "tpu:v5e:2x4", "cpu:2"])
def test_no_accelerator_of_this_machine_is_taken_even_if_jax_was_imported_first(name, loaded_jax):
    parse_target(name).prepare()
    assert loaded_jax.config.jax_platforms == "cpu" == os.environ["JAX_PLATFORMS"]


def test_the_reason_why_a_compiler_for_gpus_does_not_load_is_in_the_message(loaded_jax, monkeypatch):
    """JAX logs it, and says only that there is no such platform."""
    target = parse_target("gpu:h100:8")
    monkeypatch.setattr(targets, "GPU_PLUGINS", ("no_such_plugin",))
    with pytest.raises(InputError, match=r"jax-cuda12-plugin is not installed.*xla-cuda"):
        target.devices()

    def get_topology_desc(**options):
        try:
            raise RuntimeError("Unable to load CUDA.")
        except RuntimeError:
            logging.getLogger("jax._src.xla_bridge").exception("Exception when calling initialize()")
        raise NotImplementedError("topology not implemented for cuda")

    monkeypatch.setattr(targets, "GPU_PLUGINS", ("jax",))
    monkeypatch.setattr(topologies, "get_topology_desc", get_topology_desc)
    with pytest.raises(InputError, match=r"gpu:h100:8: the compiler does not start \(Unable to load CUDA\.\)"):
        target.devices()
