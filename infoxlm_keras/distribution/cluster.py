"""The processes of a multi-worker run, from TF_CONFIG, Slurm or Kubernetes (TensorFlow)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from infoxlm_keras.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

# The environment variable with the label of the pods, and the port that must be free on every machine.
KUBERNETES_LABEL, KUBERNETES_PORT = "INFOXLM_KUBERNETES_LABEL", 8470


def is_multi_worker(environment: Mapping[str, str] = os.environ, report: Callable[[str], None] = print) -> bool:
    """Whether the environment describes more than one worker; nothing is sent over the network.

    Args:
        environment: mapping, `os.environ`.
        report: called with one line if there is a TF_CONFIG that names no cluster, as platforms set for jobs of one
            machine.

    Raises:
        InputError: if TF_CONFIG names a cluster, but not which part of it this process is.
    """
    if environment.get("TF_CONFIG"):
        content = _tf_config(environment)
        if isinstance(content, dict) and content.get("sparseCluster"):
            raise InputError(
                f"TF_CONFIG = {_shortened(environment)}: names a cluster whose workers come and go, with which "
                "nothing can be trained here; switch off enableDynamicWorker in the TFJob"
            )
        if not isinstance(content, dict) or not content.get("cluster"):
            report(f"TF_CONFIG = {_shortened(environment)}: names no cluster; training on this machine alone")
            return False
        _refuse_other_parts(content)
        return len(_tf_config_workers(environment)) > 1
    return _number_of_slurm_tasks(environment) > 1 or KUBERNETES_LABEL in environment


def cluster_resolver(
    environment: Mapping[str, str] = os.environ, kubernetes_client: Any = None
) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The `tf.distribute.cluster_resolver.ClusterResolver` of the run that this process is part of.

    * `TF_CONFIG`, a JSON text, as set by hand or by Kubeflow: `{"cluster": {"worker": ["host:port", ...]},
      "task": {"type": "worker", "index": 0}}`.
    * Slurm: `srun` of more than one task; ports from 8888 on.
    * Kubernetes: the pods with the label in INFOXLM_KUBERNETES_LABEL ("job-name=infoxlm"), which need the host's
      network and, each, a machine of its own; port 8470. Needs `pip install kubernetes` in the pods.

    Args:
        environment: mapping, `os.environ`.
        kubernetes_client: optional `kubernetes.client.CoreV1Api`.

    Raises:
        InputError: if the environment names no cluster, or what it names cannot be read.
    """
    import tensorflow as tf

    resolvers = tf.distribute.cluster_resolver
    if environment.get("TF_CONFIG"):
        _tf_config_workers(environment)
        return resolvers.TFConfigClusterResolver()
    if _number_of_slurm_tasks(environment) > 1:
        try:
            resolver = resolvers.SlurmClusterResolver(jobs={"worker": _number_of_slurm_tasks(environment)})
            resolver.cluster_spec()
        except (RuntimeError, ValueError) as error:
            raise InputError(f"--strategy multiworker under Slurm: {error}") from None
        return resolver
    if KUBERNETES_LABEL in environment:
        return _kubernetes_resolver(environment, kubernetes_client)
    raise InputError(
        "--strategy multiworker: the environment names no cluster; set TF_CONFIG, start with srun, or name "
        f"the pods' label in {KUBERNETES_LABEL}"
    )


def worker_number(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> tuple[int, int]:
    """(number of this worker, number of workers); a `chief` comes before the workers.

    Raises:
        InputError: if this process has another part, or the cluster parameter servers.
    """
    cluster = resolver.cluster_spec().as_dict()
    odd = sorted(set(cluster) - {"chief", "worker", "evaluator"})
    if odd or resolver.task_type not in ("chief", "worker"):
        raise InputError(
            f"--strategy multiworker: task {resolver.task_type!r} of a cluster of {', '.join(sorted(cluster))}: "
            "all processes must be workers (the first may be called chief)"
        )
    chiefs = len(cluster.get("chief", ()))
    number = 0 if resolver.task_type == "chief" else chiefs + resolver.task_id
    return number, chiefs + len(cluster.get("worker", ()))


def _tf_config(environment):
    """The value of TF_CONFIG; None if it is not JSON."""
    try:
        return json.loads(environment["TF_CONFIG"])
    except (ValueError, RecursionError):
        return None


def _refuse_other_parts(content):
    """Raises `InputError` for a process that is no worker, and so would train alone."""
    cluster, task = content["cluster"], content.get("task")
    if not isinstance(cluster, dict):
        return
    part = task.get("type") if isinstance(task, dict) else None
    other = isinstance(part, str) and part in cluster and part not in ("chief", "worker")
    if other or "master" in cluster:
        raise InputError(
            f"TF_CONFIG: task {part!r} of a cluster of {', '.join(sorted(cluster))}: all processes must be workers "
            "(the first may be called chief); start no others"
        )


def _tf_config_workers(environment):
    """list of str, the addresses of all workers."""
    content = _tf_config(environment)
    cluster, task = (content.get(name) if isinstance(content, dict) else None for name in ("cluster", "task"))
    jobs = [_addresses(cluster, job) for job in ("chief", "worker")]
    part = task.get("type") if isinstance(task, dict) else None
    members = _addresses(cluster, part) if isinstance(part, str) else None
    is_part = isinstance(task, dict) and members and _is_index(task.get("index"), len(members))
    if None in jobs or not sum(jobs, []) or not is_part:
        raise InputError(
            f"TF_CONFIG = {_shortened(environment)}: must be JSON of the form "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        )
    return sum(jobs, [])


def _addresses(cluster, job):
    """The addresses of a job, list of str, empty if there is no such job; None if they are none."""
    found = cluster.get(job, []) if isinstance(cluster, dict) else None
    valid = isinstance(found, list) and all(isinstance(address, str) and ":" in address for address in found)
    return found if valid else None


def _is_index(value, length):
    # Kubeflow writes the number as text in some versions.
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < length


def _shortened(environment):
    text = environment["TF_CONFIG"]
    return text if len(text) <= 200 else f"{text[:200]}..."


def _number_of_slurm_tasks(environment):
    # SLURM_STEP_NUM_TASKS is set by srun, for the step that this process belongs to.
    if "SLURM_PROCID" not in environment:
        return 1
    text = environment.get("SLURM_STEP_NUM_TASKS") or "1"
    if not text.isdecimal():
        raise InputError(f"SLURM_STEP_NUM_TASKS = {text}: must be a number; start with srun, or unset SLURM_PROCID")
    return int(text)


def _kubernetes_resolver(environment, client):
    import tensorflow as tf

    if client is None:
        try:
            import kubernetes
        except ImportError:
            raise InputError(
                "--strategy multiworker on Kubernetes needs the package kubernetes: pip install kubernetes, or set "
                "TF_CONFIG instead"
            ) from None
        # The resolver's own client would look for a user's file instead of the pod's account.
        kubernetes.config.load_incluster_config()
        client = kubernetes.client.CoreV1Api()
    label = environment[KUBERNETES_LABEL]
    pods = sorted(pod.metadata.name for pod in client.list_pod_for_all_namespaces(label_selector=label).items)
    name = environment.get("HOSTNAME")
    if name not in pods:
        raise InputError(f"{KUBERNETES_LABEL} = {label}: this pod, {name}, is not among the pods: {', '.join(pods)}")
    resolver = tf.distribute.cluster_resolver.KubernetesClusterResolver(
        {"worker": [label]}, tf_server_port=KUBERNETES_PORT, override_client=client
    )
    resolver.task_type, resolver.task_id = "worker", pods.index(name)
    try:
        resolver.cluster_spec()
    except RuntimeError as error:
        raise InputError(f"--strategy multiworker on Kubernetes: {error}") from None
    return resolver
