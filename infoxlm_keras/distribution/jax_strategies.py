"""Strategies on JAX: `keras.distribution` lays out batches and weights, and the compiler adds the communication.

The training step needs no change: it is written for the whole batch. The rows of the batch lie on several devices, and
under `fsdp` and `model_parallel` the weights too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import jax
import keras
import numpy as np

from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.distribution.jax_layouts import BATCH, FSDP, MODEL, MODEL_PARALLEL
from infoxlm_keras.distribution.jax_processes import TIMEOUT, connect, processes_of_run
from infoxlm_keras.distribution.meeting import Processes
from infoxlm_keras.errors import InputError


def choose(
    name: str, replicas: int | None, tpu: str | None, cluster: Mapping[str, Any], in_common: Mapping[str, str]
) -> Distribution:
    """See `choose_distribution`."""
    if tpu not in (None, "local"):
        raise InputError(f"--tpu {tpu}: JAX uses the TPU of the machine it runs on; start it there with --tpu local")
    processes = processes_of_run(name, cluster, tpu) if name in ("multiworker", "tpu", "auto") else None
    if processes is not None:
        return _several_processes(name, processes, in_common, float(cluster.get("timeout", TIMEOUT)))
    if name == "multiworker":
        raise InputError(
            "--strategy multiworker: the environment names no cluster; give each process --coordinator HOST:PORT "
            "--processes N --process I, or start with srun"
        )
    devices = _devices(name, replicas)
    if jax.process_count() > 1:
        raise InputError(f"--strategy {name}: is of one process, and JAX has joined {jax.process_count()} of them")
    if name == "tpu" and devices[0].platform != "tpu":
        raise InputError(
            f"--strategy tpu: JAX sees {devices[0].platform} devices and no TPU; run on a TPU VM that has jax[tpu]"
        )
    if name == "one" or len(devices) == 1:
        return Distribution(devices=(str(devices[0]),))
    names = tuple(f"{device.platform}:{device.id}" for device in devices)
    if name == "model_parallel":
        return Distribution(name, replicas or 1, names, strategy=_model_parallel(names, replicas or 1))
    if name == "fsdp":
        return Distribution(name, len(devices), names, strategy=_fsdp(names))
    strategy = keras.distribution.DataParallel(devices=list(names))
    return Distribution("tpu" if name == "tpu" else "mirrored", len(devices), names, strategy=strategy)


def _several_processes(name: str, processes: Processes, in_common: Mapping[str, str], timeout: float) -> Distribution:
    """All devices of all processes, those of a process next to each other."""
    connect(processes, in_common, timeout)
    # The numbers of a TPU's devices need not follow the machines.
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if name == "tpu" and devices[0].platform != "tpu":
        raise InputError(
            f"--strategy tpu: JAX sees {devices[0].platform} devices and no TPU; run on TPU VMs that have jax[tpu]"
        )
    counts = np.bincount([device.process_index for device in devices])
    if len(set(counts.tolist())) > 1:
        raise InputError(f"the processes have {counts.tolist()} devices; give all of them the same number")
    names = tuple(f"{device.platform}:{device.id}" for device in devices)
    # Each process makes its own part of a batch, see `distribute_batches`.
    strategy = keras.distribution.DataParallel(devices=list(names), auto_shard_dataset=False)
    return Distribution(
        "tpu" if devices[0].platform == "tpu" else "multiworker",
        len(devices),
        names,
        num_workers=processes.count,
        worker=processes.number,
        strategy=strategy,
    )


def _devices(name, replicas):
    if name == "mirrored" and replicas is not None:
        # No effect on other devices. After a device was used it is an error, and the number of devices stays.
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", replicas)
        devices = jax.devices()
        if len(devices) < replicas:
            raise InputError(f"--replicas {replicas}: JAX sees {len(devices)} {devices[0].platform} devices")
        return devices[:replicas]
    return jax.devices()


def _model_parallel(names, replicas):
    """`replicas` parts of the batch times (devices / replicas) parts of the large weight matrices."""
    if len(names) % replicas:
        raise InputError(f"--replicas {replicas}: does not divide the {len(names)} devices")
    mesh = keras.distribution.DeviceMesh(
        (replicas, len(names) // replicas), (BATCH, MODEL), np.array(names).reshape(replicas, -1)
    )
    return _laid_out(mesh, MODEL_PARALLEL)


def _fsdp(names):
    """As many parts of the batch as devices; each holds a part of every matrix, too, and gets the rest when needed."""
    return _laid_out(keras.distribution.DeviceMesh((len(names),), (BATCH,), np.array(names)), FSDP)


def _laid_out(mesh, layouts):
    layout = keras.distribution.LayoutMap(mesh)
    for pattern, axes in layouts.items():
        layout[pattern] = axes
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name=BATCH)
