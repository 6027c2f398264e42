"""Accelerators that XLA's compilers know without the machine: TPU topologies and NVIDIA GPUs.

`libtpu` holds the compiler for TPUs, the package `jax-cuda12-plugin` that for GPUs. Both run on any x86 machine.
"""

import contextlib
import dataclasses
import difflib
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from infoxlm_keras.distribution.chips import CHIPS as KNOWN_CHIPS
from infoxlm_keras.distribution.chips import Chip
from infoxlm_keras.errors import InputError

# Of these the compilers are installed by an extra each, and a description of the chip is known.
NAMES = ("tpu:v4", "tpu:v5e", "tpu:v5p", "tpu:v6e", "gpu:h100", "cpu")
GPU_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
CHIPS = {name: KNOWN_CHIPS[name] for name in NAMES}

# What XLA must know of a GPU that is not there. The numbers are those that a driver reports of an H100 (SXM).
H100 = """gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 233472
  threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128 block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535 block_dim_limit_z: 65535 memory_bandwidth: 3352320000000 l2_cache_size: 52428800
  clock_rate_ghz: 1.98 device_memory_size: 84978434048 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536 registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } device_description_str: "NVIDIA H100 80GB HBM3" """


@dataclasses.dataclass(frozen=True)
class Target:
    """One accelerator and how many chips of it: `tpu:v5e:2x4`, `gpu:h100:8`, `cpu:8`.

    Attributes:
        name: str, as given.
        platform: "tpu", "gpu" or "cpu".
        chip: `Chip`.
        topology: str, such as "2x4"; for GPUs and CPUs their number.
    """

    name: str
    platform: str
    chip: Chip
    topology: str

    @property
    def chips(self) -> int:
        """int: chips of the topology."""
        count = 1
        for part in self.topology.split("x"):
            count *= int(part)
        return count

    def prepare(self) -> None:
        """Sets what the compilers read from the environment; call it before JAX looks for devices."""
        os.environ["JAX_PLATFORMS"] = "cpu"
        if "jax" in sys.modules:
            # JAX reads the environment once, when it is imported.
            sys.modules["jax"].config.update("jax_platforms", "cpu")
        if self.platform == "tpu":
            # Without the first, libtpu asks the metadata server of a TPU VM, which is not there.
            os.environ["TPU_SKIP_MDS_QUERY"] = "1"
            # Nothing runs on a TPU here, so two compilations, or one beside a training run, do not disturb each other.
            os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
            os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
            os.environ.setdefault("TPU_ACCELERATOR_TYPE", self.chip.accelerator_type)
        if self.platform == "gpu":
            # Kernels are chosen by trying them, on a GPU that is not there. Without that choice XLA takes Triton's for
            # all matrix products, and refuses those whose sizes its default tiles do not divide; cuBLAS takes any.
            _add_xla_flag("--xla_gpu_autotune_level=0")
            _add_xla_flag("--xla_gpu_enable_triton_gemm=false")
        if self.platform == "cpu":
            _add_xla_flag(f"--xla_force_host_platform_device_count={self.chips}")

    def devices(self) -> list[Any]:
        """List of JAX devices for which the compiler works; no program can run on them.

        Raises:
            InputError: if the compiler is not installed, or does not know the topology.
        """
        import jax
        from jax.experimental import topologies

        if self.platform == "cpu":
            return jax.devices()[: self.chips]
        if self.platform == "gpu" and not any(map(importlib.util.find_spec, GPU_PLUGINS)):
            raise InputError(_without_compiler(self, "the package jax-cuda12-plugin is not installed"))
        try:
            if self.platform == "tpu":
                # Hosts have four chips or more, unless it is said.
                host = {"chips_per_host_bounds": (1, 1, 1)} if self.chips == 1 else {}
                name = ":".join(self.name.split(":")[1:])
                found = topologies.get_topology_desc(platform="tpu", topology_name=name, **host)
            else:
                _allow_fused_attention()
                with _why_plugins_fail():
                    found = topologies.get_topology_desc(
                        platform="cuda", topology_name="h100", topology=f"1x1x{self.chips}", target_config=H100
                    )
        except Exception as error:
            raise InputError(_without_compiler(self, error)) from None
        return list(found.devices)


def parse_target(text: str) -> Target:
    """`Target` of a string such as "tpu:v5e:2x4".

    Raises:
        InputError: for an unknown accelerator, or a topology that is no product of whole numbers.
    """
    platform, _, rest = text.partition(":")
    kind, _, topology = rest.partition(":") if platform != "cpu" else ("", "", rest)
    name = platform if platform == "cpu" else f"{platform}:{kind}"
    if name not in CHIPS:
        close = difflib.get_close_matches(name, CHIPS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(CHIPS)}"
        raise InputError(f"--target {text}: is no accelerator that can be compiled for; {hint}")
    chip = CHIPS[name]
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){0,2}" if platform == "tpu" else r"[1-9]\d{0,3}", topology):
        raise InputError(
            f"--target {text}: write the chips behind the accelerator, for instance {name}:{chip.topology}"
        )
    return Target(text, platform, chip, topology)


def _add_xla_flag(flag):
    flags = os.environ.get("XLA_FLAGS", "").split()
    if flag not in flags:
        os.environ["XLA_FLAGS"] = " ".join([*flags, flag])


def _allow_fused_attention():
    """Answers for the GPU what JAX asks of it before it calls cuDNN's kernels."""
    from jax._src.cudnn import fused_attention_stablehlo as fused

    fused.check_compute_capability = lambda *arguments, **options: True
    fused.check_cudnn_version = lambda *arguments, **options: 90800


@contextlib.contextmanager
def _why_plugins_fail() -> Iterator[None]:
    """Raises the reason why a plugin did not load, which JAX only logs, instead of what that leads to."""
    reasons: list[BaseException] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: reasons.extend([record.exc_info[1]] if record.exc_info else [])  # type: ignore
    logger = logging.getLogger("jax._src.xla_bridge")
    logger.addHandler(handler)
    try:
        yield
    except Exception as error:
        raise (reasons[0] if reasons else error) from None
    finally:
        logger.removeHandler(handler)


def _without_compiler(target, error):
    reason = " ".join(str(error).split())[:300]
    missing = target.platform == "tpu" and "libtpu" in reason and "topology" not in reason.lower()
    if target.platform == "gpu" or missing:
        extra = "xla-tpu" if target.platform == "tpu" else "xla-cuda"
        return f'--target {target.name}: the compiler does not start ({reason}); pip install "infoxlm_keras[{extra}]"'
    return f"--target {target.name}: the compiler does not know it ({reason}); for instance {target.chip.topology}"
