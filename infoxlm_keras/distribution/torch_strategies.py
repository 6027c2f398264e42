"""Strategies on PyTorch: one device, or one device of each process that `torchrun` starts."""

from collections.abc import Mapping
from typing import Any

import torch

from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.distribution.torch_processes import TIMEOUT, connect, processes_of_run
from infoxlm_keras.errors import InputError


def choose(name: str, cluster: Mapping[str, Any], in_common: Mapping[str, str]) -> Distribution:
    """See `choose_distribution`."""
    if name not in ("auto", "one", "multiworker"):
        others = "jax" if name in ("fsdp", "model_parallel") else "tensorflow or jax"
        raise InputError(
            f"--strategy {name}: PyTorch has one, multiworker (started by torchrun) and auto; set "
            f"KERAS_BACKEND={others}"
        )
    processes = processes_of_run()
    if processes is None and name == "multiworker":
        raise InputError(
            "--strategy multiworker: there is one process; start several with torchrun --nproc_per_node N "
            "recipes/pretrain.py ..., or set WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT"
        )
    if processes is None:
        return Distribution(devices=("cuda:0" if torch.cuda.is_available() else "cpu",))
    device = connect(processes, in_common, float(cluster.get("timeout", TIMEOUT)))
    kind = device.partition(":")[0]
    return Distribution(
        "multiworker",
        processes.count,
        tuple(f"{kind} of process {number}" for number in range(processes.count)),
        num_workers=processes.count,
        worker=processes.number,
    )
