"""Which processes a multi-worker run is made of: from TF_CONFIG, Slurm or Kubernetes (TensorFlow)."""

import json
import os

from infoxlm_keras.errors import InputError

# Both may be set to what a cluster needs; the ports must be free on every machine.
KUBERNETES_LABEL, KUBERNETES_PORT = "INFOXLM_KUBERNETES_LABEL", 8470


def is_multi_worker(environment=os.environ):
    """Whether the environment describes more than one worker, without asking anybody."""
    if environment.get("TF_CONFIG"):
        return len(_tf_config_workers(environment)) > 1
    return _number_of_slurm_tasks(environment) > 1 or KUBERNETES_LABEL in environment


def cluster_resolver(environment=os.environ, kubernetes_client=None):
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


def worker_number(resolver):
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


def _tf_config_workers(environment):
    try:
        content = json.loads(environment["TF_CONFIG"])
        cluster, task = content["cluster"], content["task"]
        workers = [address for job in ("chief", "worker") for address in cluster.get(job, ())]
        if not workers or task["type"] not in cluster or not 0 <= int(task["index"]) < len(cluster[task["type"]]):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"TF_CONFIG = {environment['TF_CONFIG']}: must be JSON of the form "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from None
    return workers


def _number_of_slurm_tasks(environment):
    # SLURM_STEP_NUM_TASKS is set by srun, for the step that this process belongs to.
    return int(environment.get("SLURM_STEP_NUM_TASKS", 1)) if "SLURM_PROCID" in environment else 1


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
