"""The processes of a run on JAX: from options, from the environment, from Slurm, or from a TPU's metadata."""

from __future__ import annotations

import os
from collections.abc import Mapping

import jax
from jax.experimental import multihost_utils

from infoxlm_keras.distribution.meeting import Processes, meet
from infoxlm_keras.distribution.versions import versions_in_common
from infoxlm_keras.errors import InputError

# Each option may be given as an environment variable instead.
OPTIONS = {"coordinator": "INFOXLM_COORDINATOR", "processes": "INFOXLM_PROCESSES", "process": "INFOXLM_PROCESS"}
# Those that Kubeflow's trainer sets.
OF_KUBEFLOW = {
    "coordinator": "JAX_COORDINATOR_ADDRESS",
    "processes": "JAX_NUM_PROCESSES",
    "process": "JAX_PROCESS_ID",
}
# Seconds that all processes have to come.
TIMEOUT = 300.0


def processes_of_run(
    name: str, options: Mapping[str, str | int | None], tpu: str | None, environment: Mapping[str, str] = os.environ
) -> Processes | None:
    """The `Processes` of the run that this process is part of; None if it is the only one.

    Args:
        name: str, `multiworker`, `tpu` or `auto`.
        options: dict with `coordinator`, `processes`, `process` of the command line, each a value or None.
        tpu: str or None, the option `--tpu`.
        environment: mapping, `os.environ`.

    Raises:
        InputError: if not all of the three options are given, or one is out of range.
    """
    given: Mapping[str, str | int | None] = {option: options.get(option) for option in OPTIONS}
    if all(value is None for value in given.values()):
        given = {option: environment.get(variable) for option, variable in OPTIONS.items()}
    if all(value in (None, "") for value in given.values()):
        of_kubeflow = {option: environment.get(variable) for option, variable in OF_KUBEFLOW.items()}
        # JAX itself takes some of them beside Slurm, and one process is none to be found.
        if all(of_kubeflow.values()) and of_kubeflow["processes"] != "1":
            given = of_kubeflow
    if any(value not in (None, "") for value in given.values()):
        return _checked(given)
    if name in ("multiworker", "auto") and _number(environment.get("SLURM_STEP_NUM_TASKS", "1"), "SLURM") > 1:
        return _detected("slurm", environment)
    if name == "tpu" or tpu is not None:
        return _detected("tpu", environment)
    return None


def connect(processes: Processes, in_common: Mapping[str, str], timeout: float = TIMEOUT) -> None:
    """Joins all processes; `jax.devices()` are those of all of them afterwards. Call it before JAX uses a device.

    Args:
        processes: `Processes`.
        in_common: dict of str to str, what must be the same on all of them; the versions of the libraries are added.
        timeout: float, seconds that all processes have to come.

    Raises:
        InputError: see `meet`; if JAX has started already.
    """
    meet(processes, {**in_common, **versions_in_common("jax")}, timeout)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It would take SIGTERM, for which a run has its own handler.
    if hasattr(jax.config, "jax_enable_preemption_service"):
        jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            processes.coordinator,
            processes.count,
            processes.number,
            local_device_ids=None if processes.local_device is None else [processes.local_device],
            cluster_detection_method="deactivate",
            initialization_timeout=int(timeout),
        )
    except RuntimeError as error:
        raise InputError(
            f"--coordinator {processes.coordinator}: JAX cannot join the processes ({error}); choose the strategy "
            "before anything else uses a device"
        ) from None
    # On CPUs the first exchange of all devices must begin on all processes within 30 seconds. They are together now;
    # later, one may read its records for longer than another.
    multihost_utils.sync_global_devices("the start of the run")


def _checked(given):
    missing = [f"--{option} (or {OPTIONS[option]})" for option, value in given.items() if value in (None, "")]
    if missing:
        raise InputError(
            f"several JAX processes need --coordinator HOST:PORT, --processes N and --process I; {missing[0]} is "
            "not given"
        )
    coordinator = str(given["coordinator"])
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"--coordinator {coordinator}: must be HOST:PORT, the address of process 0")
    count, number = (_number(given[option], f"--{option}") for option in ("processes", "process"))
    if count < 1:
        raise InputError(f"--processes {count}: must be at least 1")
    if not 0 <= number < count:
        raise InputError(f"--process {number}: with --processes {count} they are numbered 0..{count - 1}")
    return Processes(coordinator, count, number) if count > 1 else None


def _number(value, what):
    text = str(value)
    if not text.isdecimal():
        raise InputError(f"{what} = {text}: must be a number")
    return int(text)


def _detected(kind, environment):
    """What JAX itself finds; None if that is one process.

    JAX has no public call that finds the processes without joining them, and joining ends the process if one is
    missing.
    """
    from jax._src import clusters

    kinds = {"slurm": ("slurm",), "tpu": ("tpu", "gcetpu", "gketpu")}[kind]
    for cluster in clusters.ClusterEnv._cluster_types:
        if cluster.name not in kinds:
            continue
        try:
            if not cluster.is_env_present():
                continue
            count = cluster.get_process_count()
            if count < 2:
                return None
            address = cluster.get_coordinator_address(int(TIMEOUT), environment.get("JAX_COORDINATOR_PORT"))
            # Under Slurm each process takes the GPU of its own number on the machine, as JAX does by itself.
            local = cluster.get_local_process_id() if kind == "slurm" else None
            return Processes(address, count, cluster.get_process_id(), local)
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            if kind == "slurm":
                raise InputError(
                    f"--strategy multiworker under Slurm: {error} cannot be read; start with srun"
                ) from None
            print(f"the metadata of the TPU cannot be read ({error}); training on this machine alone", flush=True)
            return None
    if kind == "slurm":
        raise InputError(
            "--strategy multiworker under Slurm: SLURM_JOB_ID, SLURM_STEP_NODELIST, SLURM_NTASKS, SLURM_PROCID and "
            "SLURM_LOCALID are not all set; start with srun"
        )
    return None
