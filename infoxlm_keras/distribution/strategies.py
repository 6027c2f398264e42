"""From a strategy's name on the command line to the devices of a run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol

import keras

from infoxlm_keras.choices import STRATEGIES
from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.distribution.lost_processes import refuse_lost_processes
from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infoxlm_keras.config import RunSettings


class EncoderSize(Protocol):
    """The dimensions that a strategy may cut."""

    @property
    def hidden_dim(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def intermediate_dim(self) -> int: ...


def choose_distribution(
    name: str = "auto",
    replicas: int | None = None,
    tpu: str | None = None,
    cluster: Mapping[str, Any] | None = None,
    in_common: Mapping[str, str] | None = None,
) -> Distribution:
    """The `Distribution` called `name`; call it before anything else uses a device.

    | name | TensorFlow | JAX | PyTorch |
    |---|---|---|---|
    | `one` | one device | one device | one device |
    | `mirrored` | all GPUs, or `replicas` CPU devices | the same | - |
    | `multiworker` | all GPUs of all processes | the same | one device a process, started by `torchrun` |
    | `tpu` | the TPU `tpu` | the TPU of this machine, or of all machines of a slice | - |
    | `fsdp` | - | as `mirrored`; weights and optimizer state cut over the devices too | - |
    | `model_parallel` | - | weights cut over the devices | - |
    | `auto` | the first that fits: `tpu` (if named), `multiworker`, `mirrored`, `one` | the same | the same |

    Args:
        name: one of `STRATEGIES`.
        replicas: optional int, for `mirrored`: how many of the GPUs, or, without GPUs, how many logical CPU devices;
            for `model_parallel`: the parts of a batch, each trained on (devices / replicas) devices.
        tpu: optional str, for `tpu`: name or address of the TPU, or `local` on its own virtual machine.
        cluster: optional dict, for `multiworker` and `tpu` on JAX: `coordinator` ("host:port" of the first process),
            `processes` and `process` (int), and `timeout` (seconds in which all must come); None where the environment
            says it.
        in_common: optional dict of str to str, what must be the same on all JAX processes, for instance settings.

    Raises:
        InputError: for a strategy that this machine or the Keras backend does not have, with the remedy.
    """
    if name not in STRATEGIES:
        raise InputError(f"--strategy {name}: must be one of {', '.join(STRATEGIES)}")
    if replicas is not None and replicas < 1:
        raise InputError(f"--replicas {replicas}: must be at least 1")
    if replicas is not None and name not in ("mirrored", "model_parallel"):
        raise InputError(f"--replicas {replicas}: goes with --strategy mirrored or model_parallel, not with {name}")
    if tpu is not None and name not in ("tpu", "auto"):
        raise InputError(f"--tpu {tpu}: goes with --strategy tpu, not with {name}")
    backend = keras.backend.backend()
    cluster = {option: value for option, value in (cluster or {}).items() if value is not None}
    option = next((option for option in ("coordinator", "processes", "process") if option in cluster), None)
    if option is not None and (backend != "jax" or name not in ("multiworker", "tpu", "auto")):
        raise InputError(
            f"--{option} {cluster[option]}: goes with KERAS_BACKEND=jax and --strategy multiworker or tpu; this is "
            f"--strategy {name} on {backend}"
        )
    variables = {option: f"INFOXLM_{option.upper()}" for option in ("coordinator", "processes", "process")}
    given = [found for found in variables.values() if os.environ.get(found)]
    several = given and os.environ.get(variables["processes"]) != "1"
    if several and (backend != "jax" or name not in ("multiworker", "tpu", "auto")):
        raise InputError(
            f"{given[0]} = {os.environ[given[0]]} is set: goes with KERAS_BACKEND=jax and --strategy multiworker or "
            f"tpu, and under --strategy {name} on {backend} each process would train alone; unset it, or give one of "
            "these strategies"
        )
    if not several and option is None:
        refuse_lost_processes("tpu" if tpu is not None else name, backend)
    if backend == "jax":
        from infoxlm_keras.distribution.jax_strategies import choose as choose_on_jax

        return choose_on_jax(name, replicas, tpu, cluster, in_common or {})
    if backend == "torch":
        from infoxlm_keras.distribution.torch_strategies import choose as choose_on_torch

        return choose_on_torch(name, cluster, in_common or {})
    from infoxlm_keras.distribution.tensorflow_strategies import choose

    return choose(name, replicas, tpu, in_common or {})


def ending_together(distribution: Distribution) -> contextlib.AbstractContextManager[None]:
    """Context for all that a command does on `distribution`; an error on one of several processes ends all."""
    if distribution.num_workers == 1 or keras.backend.backend() == "tensorflow":
        return contextlib.nullcontext()
    if keras.backend.backend() == "torch":
        from infoxlm_keras.distribution.torch_processes import ending_together as ending_on_torch

        return ending_on_torch()
    from infoxlm_keras.distribution.ending import ending_at_once

    return ending_at_once()


def global_batch_sizes(config: RunSettings) -> dict[str, int]:
    """dict of task name to samples of one update, all replicas and micro-batches together."""
    return {task: size * config.optimizer.accumulation_steps for task, size in config.batch_sizes.items()}


def check_batches(config: RunSettings, distribution: Distribution) -> None:
    """Raises InputError unless micro-batches can be cut into equal parts."""
    for task, batch_size in config.batch_sizes.items():
        if batch_size % distribution.num_replicas:
            raise InputError(
                f"{task}.batch_size = {batch_size}: cannot be divided among {distribution.num_replicas} replicas; "
                f"make it a multiple of {distribution.num_replicas}, for instance --set {task}.batch_size="
                f"{-(-batch_size // distribution.num_replicas) * distribution.num_replicas}"
            )


def check_parts(size: EncoderSize, distribution: Distribution) -> None:
    """Raises InputError unless an encoder of `size` can be cut into equal parts, where `distribution` cuts it.

    Args:
        size: what has `hidden_dim`, `num_heads` and `intermediate_dim`: an `EncoderSize`, or a backbone.
        distribution: `Distribution`.
    """
    if distribution.name == "fsdp":
        parts = len(distribution.devices)
        for name in ("hidden_dim", "intermediate_dim"):
            if getattr(size, name) % parts:
                raise InputError(
                    f"model.{name} = {getattr(size, name)}: cannot be cut into {parts} parts; use --strategy "
                    "mirrored, where each device has the whole model, or another number of devices"
                )
    if distribution.name != "model_parallel":
        return
    parts = len(distribution.devices) // distribution.num_replicas
    for name in ("hidden_dim", "num_heads", "intermediate_dim"):
        if getattr(size, name) % parts:
            raise InputError(
                f"model.{name} = {getattr(size, name)}: cannot be cut into {parts} parts; with --replicas "
                f"{len(distribution.devices)} each device has the whole model"
            )


def describe(config: RunSettings, distribution: Distribution) -> dict[str, Any]:
    """dict of what a run is distributed over, for printing: devices, replicas, global and per-replica batch."""
    sizes = global_batch_sizes(config)
    facts: dict[str, Any] = {
        "strategy": distribution.name,
        "devices": ", ".join(distribution.devices),
        "replicas": distribution.num_replicas,
    }
    if distribution.num_workers > 1:
        facts["worker"] = f"{distribution.worker} of 0..{distribution.num_workers - 1}"
    facts["global batch"] = ", ".join(f"{task} {size}" for task, size in sizes.items())
    facts["batch per replica"] = ", ".join(
        f"{task} {size // distribution.num_replicas}" for task, size in sizes.items()
    )
    if config.optimizer.accumulation_steps > 1:
        facts["batch per replica"] += f", in {config.optimizer.accumulation_steps} micro-batches"
    return facts
