"""Refuses a run of which a launcher started several processes that would not find each other.

Each of them would train alone, and all would write to one folder.
"""

import os
from collections.abc import Mapping

from infoxlm_keras.distribution.cluster import KUBERNETES_LABEL, is_multi_worker
from infoxlm_keras.errors import InputError

# Strategies of one process with several devices.
OF_ONE_PROCESS = ("mirrored", "fsdp", "model_parallel")
ALONE = "or give --strategy one if each is to train alone"


def refuse_lost_processes(name: str, backend: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises `InputError` if the environment says that this process is one of several, and the run ignores it.

    TensorFlow reads TF_CONFIG, Slurm's variables and the pods' label, PyTorch torchrun's variables, and JAX Slurm's and
    its own; none does so under a strategy of one process.

    Args:
        name: str, the strategy on the command line; `one` says that this process trains alone.
        backend: str, Keras' backend.
        environment: mapping, `os.environ`.
    """
    if name == "one":
        return
    if backend != "torch":
        _refuse_torchrun(backend, environment)
    elif "WORLD_SIZE" in environment:
        return
    slurm = {variable: value for variable, value in environment.items() if variable.startswith("SLURM_")}
    others = {variable: value for variable, value in environment.items() if variable not in slurm}
    if (backend != "tensorflow" or name in OF_ONE_PROCESS) and is_multi_worker(others, report=lambda line: None):
        variable = "TF_CONFIG" if environment.get("TF_CONFIG") else KUBERNETES_LABEL
        raise InputError(
            f"{variable} names several workers, and under KERAS_BACKEND={backend} and --strategy {name} each would train "
            f"alone; set KERAS_BACKEND=tensorflow and --strategy multiworker, {ALONE}"
        )
    if (backend == "torch" or name in OF_ONE_PROCESS) and is_multi_worker(slurm):
        remedy = "start torchrun with srun, one task a machine" if backend == "torch" else "give --strategy multiworker"
        raise InputError(
            f"srun started {slurm['SLURM_STEP_NUM_TASKS']} processes, and under KERAS_BACKEND={backend} and --strategy "
            f"{name} each would train alone; {remedy}, {ALONE}"
        )


def _refuse_torchrun(backend, environment):
    """For the variables of torchrun, and those that Kubeflow sets for PyTorch."""
    named = "TORCHELASTIC_RUN_ID" in environment or {"RANK", "MASTER_ADDR"} <= set(environment)
    if named and environment.get("WORLD_SIZE", "1") not in ("", "1"):
        raise InputError(
            f"torchrun started {environment['WORLD_SIZE']} processes (WORLD_SIZE), and KERAS_BACKEND is {backend}, so "
            f"that each would train alone; set KERAS_BACKEND=torch, {ALONE}"
        )
