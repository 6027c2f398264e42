"""The options of commands that train: which devices, and how several processes find each other."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infoxlm_keras.choices import STRATEGIES

if TYPE_CHECKING:
    from infoxlm_keras.distribution import Distribution


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Adds --strategy and the options that go with some of the strategies."""
    parser.add_argument("--strategy", choices=STRATEGIES, default="auto", help="devices to train on")
    parser.add_argument("--replicas", type=int, metavar="N", help="with mirrored: GPUs, or logical CPUs, to use")
    parser.add_argument("--tpu", metavar="NAME", help="with tpu: its name, its grpc:// address, or local")
    parser.add_argument(
        "--coordinator", metavar="HOST:PORT", help="JAX, multiworker: where process 0 listens; or INFOXLM_COORDINATOR"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="JAX, multiworker: how many; or INFOXLM_PROCESSES")
    parser.add_argument(
        "--process", type=int, metavar="I", help="JAX, multiworker: the number of this one from 0; or INFOXLM_PROCESS"
    )
    parser.add_argument(
        "--coordinator_timeout",
        type=float,
        metavar="SECONDS",
        help="JAX, PyTorch: all processes must come within; unset: 300",
    )


def distribution_of(options: argparse.Namespace, in_common: Mapping[str, str]) -> "Distribution":
    """The `Distribution` that the options of `add_device_options` name; call it before anything uses a device.

    Args:
        options: argparse.Namespace.
        in_common: dict of str to str, what must be the same on all processes.

    Raises:
        InputError: see `infoxlm_keras.distribution.strategies.choose_distribution`.
    """
    from infoxlm_keras.distribution.strategies import choose_distribution

    cluster = {option: getattr(options, option) for option in ("coordinator", "processes", "process")}
    cluster["timeout"] = options.coordinator_timeout
    return choose_distribution(options.strategy, options.replicas, options.tpu, cluster, in_common)
