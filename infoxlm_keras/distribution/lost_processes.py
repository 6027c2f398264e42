"""Refuses a run of which a launcher started several processes that would not find each other.

Each of them would train alone, and all would write to one folder.
"""

import json
import os
from collections.abc import Iterator, Mapping

from infoxlm_keras.distribution.cluster import KUBERNETES_LABEL, is_multi_worker
from infoxlm_keras.errors import InputError

# Strategies under which several processes find each other.
OF_SEVERAL = ("auto", "multiworker", "tpu")
# Variables with a number of processes, of launchers that no backend here asks.
COUNTS = {
    "JAX_NUM_PROCESSES": "Kubeflow",
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "PET_NNODES": "Kubeflow",
}
REMEDIES = {
    "tensorflow": "give --strategy multiworker with TF_CONFIG or srun",
    "jax": "give --strategy multiworker with --coordinator, --processes and --process, or srun",
    "torch": "start torchrun, with srun or mpirun as one task a machine",
}


def refuse_lost_processes(name: str, backend: str, environment: Mapping[str, str] = os.environ) -> None:
    """Raises `InputError` if the environment says that this process is one of several, and the run ignores it.

    TensorFlow reads TF_CONFIG, Slurm's variables and the pods' label, PyTorch torchrun's variables, JAX Slurm's and
    its own, and a TPU's processes know each other by its metadata; none does so under a strategy of one process.

    Args:
        name: str, the strategy on the command line.
        backend: str, Keras' backend.
        environment: mapping, `os.environ`.
    """
    if name in OF_SEVERAL and _find_each_other(name, backend, environment):
        return
    for variable, what in _signs(environment):
        remedy = REMEDIES[backend]
        if variable == "WORLD_SIZE":
            remedy = "give --strategy multiworker or auto" if backend == "torch" else "set KERAS_BACKEND=torch"
        raise InputError(
            f"{variable} = {environment[variable][:80]}: {what} started several processes, and under "
            f"KERAS_BACKEND={backend} and --strategy {name} each would train alone and write the same run; "
            f"{remedy}, or unset {variable} if each is to train alone"
        )


def _find_each_other(name, backend, environment):
    if backend == "torch":
        if _count(environment, "WORLD_SIZE") < 2:
            return False
        # `torchrun --standalone` in each of several tasks knows nothing of the other tasks.
        return not (_slurm_tasks(environment) > 1 and environment.get("GROUP_WORLD_SIZE") == "1")
    if name == "tpu":
        return True
    if backend == "tensorflow":
        return is_multi_worker(environment, report=lambda line: None)
    # Of Kubeflow's variables JAX's processes need all three.
    of_kubeflow = all(map(environment.get, ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")))
    return _slurm_tasks(environment) > 1 or (of_kubeflow and _count(environment, "JAX_NUM_PROCESSES") > 1)


def _signs(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields (variable, launcher) of what says that there are several processes."""
    if environment.get("TF_CONFIG") and _tf_config_workers(environment) > 1:
        yield "TF_CONFIG", "what set it"
    if KUBERNETES_LABEL in environment:
        yield KUBERNETES_LABEL, "Kubernetes"
    if _slurm_tasks(environment) > 1:
        yield "SLURM_STEP_NUM_TASKS", "srun"
    is_torchrun = "TORCHELASTIC_RUN_ID" in environment or {"RANK", "MASTER_ADDR"} <= set(environment)
    if is_torchrun and _count(environment, "WORLD_SIZE") > 1:
        yield "WORLD_SIZE", "torchrun"
    for variable, launcher in COUNTS.items():
        if _count(environment, variable) > 1:
            yield variable, launcher


def _slurm_tasks(environment):
    # SLURM_STEP_NUM_TASKS is set by srun, for the step that this process belongs to.
    return _count(environment, "SLURM_STEP_NUM_TASKS") if "SLURM_PROCID" in environment else 1


def _count(environment, variable):
    text = environment.get(variable, "")
    return int(text) if text.isdecimal() else 1


def _tf_config_workers(environment):
    """int: the processes in a TF_CONFIG, of which only TensorFlow demands that it is right."""
    try:
        content = json.loads(environment["TF_CONFIG"])
    except (ValueError, RecursionError):
        return 1
    if not isinstance(content, dict):
        return 1
    if content.get("sparseCluster"):
        return 2  # it does not say how many
    cluster = content.get("cluster")
    jobs = cluster.values() if isinstance(cluster, dict) else ()
    return sum(len(addresses) for addresses in jobs if isinstance(addresses, list | dict))
