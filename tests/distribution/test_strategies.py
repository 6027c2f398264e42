"""Strategies by name: what each needs, what is refused, and the clusters that an environment can name."""

import json
import types

import keras
import pytest

from infoxlm_keras.config import check_config
from infoxlm_keras.distribution import Distribution, current_distribution, global_replica_count, is_chief
from infoxlm_keras.distribution.agreement import check_agreement
from infoxlm_keras.distribution.cluster import cluster_resolver, is_multi_worker, worker_number
from infoxlm_keras.distribution.lost_processes import refuse_lost_processes
from infoxlm_keras.distribution.strategies import check_batches, check_parts, choose_distribution, describe
from infoxlm_keras.errors import InputError

WORKERS = ["first:2222", "second:2222", "third:2222"]


def tf_config(cluster, job, index):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})}


def test_without_a_strategy_there_is_one_process_and_it_writes():
    assert is_chief() and global_replica_count() == 1 and current_distribution().strategy is None
    check_agreement(3, "nothing")
    with Distribution("multiworker", num_replicas=8, num_workers=4, worker=2).scope() as distribution:
        assert current_distribution() is distribution
        assert not is_chief() and global_replica_count() == 8
    assert is_chief() and global_replica_count() == 1


def test_one_and_auto_are_this_machines_cpu(monkeypatch):
    for name in ("TF_CONFIG", "SLURM_PROCID", "INFOXLM_KUBERNETES_LABEL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("one", "auto"):
        distribution = choose_distribution(name)
        assert (distribution.name, distribution.num_replicas, distribution.strategy) == ("one", 1, None)
        assert len(distribution.devices) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("faster",), "--strategy faster: must be one of auto, one, mirrored"),
        (("mirrored", 0), "--replicas 0: must be at least 1"),
        (("one", 2), "--replicas 2: goes with --strategy mirrored or model_parallel, not with one"),
        (("mirrored", None, "local"), "--tpu local: goes with --strategy tpu, not with mirrored"),
        (("model_parallel",), "KERAS_BACKEND=jax"),
        (("fsdp",), "--strategy fsdp: is made with JAX; set KERAS_BACKEND=jax"),
        (("tpu",), "no TPU '' was found .*Please provide a TPU Name.*--tpu local"),
        # The second is what TensorFlow's build for TPUs may say instead.
        (
            ("tpu", None, "local"),
            r"no TPU 'local' was found \((TPUs not found in the cluster|RET_CHECK failure).*--tpu",
        ),
        (("auto", None, "grpc://localhost:1"), "no TPU 'grpc://localhost:1' was found .*refused"),
    ],
)
def test_refused_strategies(arguments, message):
    with pytest.raises(InputError, match=message):
        choose_distribution(*arguments)


@pytest.mark.parametrize(
    ("name", "backends"), [("fsdp", "jax"), ("model_parallel", "jax"), ("tpu", "tensorflow or jax")]
)
def test_pytorch_names_the_backends_that_have_a_strategy(name, backends):
    from infoxlm_keras.distribution import torch_strategies

    with pytest.raises(InputError, match=f"set KERAS_BACKEND={backends}$"):
        torch_strategies.choose(name, {}, {})


def test_multiworker_without_a_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(InputError, match="names no cluster; set TF_CONFIG, start with srun"):
        choose_distribution("multiworker")


def test_jax_processes_are_not_for_tensorflow():
    with pytest.raises(
        InputError, match="--processes 2: goes with KERAS_BACKEND=jax and --strategy multiworker or tpu"
    ):
        choose_distribution("multiworker", cluster={"coordinator": None, "processes": 2, "process": 0})


@pytest.mark.parametrize("name", ["one", "auto"])
@pytest.mark.parametrize("variable", ["INFOXLM_PROCESSES", "INFOXLM_COORDINATOR", "INFOXLM_PROCESS"])
def test_variables_of_several_processes_are_not_passed_over(name, variable, monkeypatch):
    """Each process would train alone, and all would write the same run."""
    monkeypatch.setenv(variable, "2")
    with pytest.raises(InputError, match=f"^{variable} = 2 is set: goes with .*each process would train alone; unset"):
        choose_distribution(name)


@pytest.mark.parametrize("name", ["mirrored", "fsdp"])
def test_on_jax_too(name, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv("INFOXLM_PROCESSES", "2")
    monkeypatch.setenv("INFOXLM_PROCESS", "0")
    with pytest.raises(InputError, match=f"INFOXLM_PROCESSES = 2 is set: .*under --strategy {name} on jax"):
        choose_distribution(name)


def test_variables_of_one_process_are_as_good_as_none(monkeypatch):
    monkeypatch.setenv("INFOXLM_PROCESSES", "1")
    monkeypatch.setenv("INFOXLM_PROCESS", "0")
    assert choose_distribution("one").num_workers == 1


TWO_WORKERS = tf_config({"worker": WORKERS[:2]}, "worker", 0)
TWO_TASKS = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
TWO_OF_TORCHRUN = {"WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
# As Kubeflow sets them, for PyTorch and for JAX.
TWO_OF_PYTORCH = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "first", "MASTER_PORT": "1"}
TWO_OF_JAX = {"JAX_COORDINATOR_ADDRESS": "first:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}
PODS = {"INFOXLM_KUBERNETES_LABEL": "job-name=infoxlm"}
BESIDE_AN_EVALUATOR = tf_config({"chief": WORKERS[:1], "evaluator": WORKERS[1:2]}, "evaluator", 0)
STANDALONE = {**TWO_TASKS, "WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none"}


@pytest.mark.parametrize(
    ("name", "backend", "environment", "message"),
    [
        ("auto", "jax", TWO_WORKERS, "TF_CONFIG = .*=jax and --strategy auto each .*--coordinator.*unset TF_CONFIG"),
        ("one", "tensorflow", TWO_WORKERS, "TF_CONFIG = .*--strategy one each .*give --strategy multiworker"),
        ("fsdp", "jax", TWO_TASKS, "SLURM_STEP_NUM_TASKS = 2: srun started .*--strategy fsdp each .*or srun"),
        ("mirrored", "tensorflow", TWO_TASKS, "SLURM_STEP_NUM_TASKS = 2"),
        ("one", "tensorflow", TWO_TASKS, "SLURM_STEP_NUM_TASKS = 2: .*unset SLURM_STEP_NUM_TASKS"),
        ("mirrored", "tensorflow", PODS, "INFOXLM_KUBERNETES_LABEL = job-name=infoxlm: Kubernetes started"),
        ("auto", "torch", PODS, "INFOXLM_KUBERNETES_LABEL = .*start torchrun"),
        ("auto", "torch", TWO_TASKS, "SLURM_STEP_NUM_TASKS = 2: .*=torch .*start torchrun"),
        ("auto", "torch", {**TWO_TASKS, "WORLD_SIZE": "1"}, "SLURM_STEP_NUM_TASKS = 2"),
        ("auto", "torch", STANDALONE, "SLURM_STEP_NUM_TASKS = 2"),
        ("one", "torch", TWO_OF_PYTORCH, "WORLD_SIZE = 2: torchrun started .*give --strategy multiworker or auto"),
        ("auto", "jax", TWO_OF_PYTORCH, "WORLD_SIZE = 2: torchrun started .*=jax .*set KERAS_BACKEND=torch"),
        ("mirrored", "tensorflow", BESIDE_AN_EVALUATOR, "TF_CONFIG = "),
        ("auto", "jax", BESIDE_AN_EVALUATOR, "TF_CONFIG = "),
        ("auto", "jax", {"TF_CONFIG": '{"sparseCluster": {"worker": {"0": "a:1"}}}'}, "TF_CONFIG = "),
        ("auto", "tensorflow", TWO_OF_TORCHRUN, "WORLD_SIZE = 2: torchrun started"),
        ("auto", "tensorflow", TWO_OF_JAX, "JAX_NUM_PROCESSES = 2: Kubeflow started"),
        ("mirrored", "jax", TWO_OF_JAX, "JAX_NUM_PROCESSES = 2: Kubeflow started"),
        ("auto", "jax", {"JAX_NUM_PROCESSES": "2"}, "JAX_NUM_PROCESSES = 2: Kubeflow started"),
        ("auto", "jax", {"OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_SIZE = 4: mpirun started"),
        ("auto", "torch", {"PET_NNODES": "2"}, "PET_NNODES = 2: Kubeflow started"),
    ],
)
def test_processes_that_would_not_find_each_other(name, backend, environment, message):
    with pytest.raises(InputError, match=f"^{message}"):
        refuse_lost_processes(name, backend, environment)
    # What the message says helps: unset, it trains alone.
    variable = message.partition(" ")[0]
    refuse_lost_processes("one", backend, {key: value for key, value in environment.items() if key != variable
                                           and not (environment is STANDALONE and key == "WORLD_SIZE")})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "backend", "environment"),
    [
        ("auto", "tensorflow", TWO_WORKERS),
        ("auto", "tensorflow", TWO_TASKS),
        ("auto", "tensorflow", PODS),
        ("multiworker", "tensorflow", {**TWO_WORKERS, **TWO_OF_PYTORCH}),
        ("multiworker", "jax", {**TWO_TASKS, **TWO_OF_PYTORCH}),
        ("multiworker", "jax", {**TWO_TASKS, **TWO_WORKERS}),
        ("tpu", "jax", {**TWO_WORKERS, **TWO_OF_PYTORCH}),
        ("auto", "jax", TWO_TASKS),
        ("auto", "jax", TWO_OF_JAX),
        ("auto", "torch", TWO_OF_PYTORCH),
        ("auto", "torch", {**TWO_TASKS, **TWO_OF_PYTORCH}),  # torchrun on each of two machines
        ("auto", "jax", {"WORLD_SIZE": "2"}),
        ("auto", "jax", {**TWO_OF_PYTORCH, "WORLD_SIZE": "1"}),
        ("auto", "jax", tf_config({"worker": WORKERS[:1]}, "worker", 0)),
        ("auto", "torch", {"TF_CONFIG": "{}"}),
        ("auto", "torch", {"TF_CONFIG": "not JSON"}),
        ("auto", "torch", tf_config({"worker": ["no port"]}, "worker", 0)),
        ("auto", "jax", tf_config({"worker": "h:1"}, "worker", 0)),
        ("auto", "torch", {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}),
        ("auto", "torch", {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": ""}),
        ("one", "tensorflow", {"SLURM_PROCID": "0"}),
    ],
)
def test_processes_that_find_each_other_or_are_none(name, backend, environment):
    """None of these is refused; the cases above are refused by the same signs."""
    assert refuse_lost_processes(name, backend, environment) is None


@pytest.mark.parametrize(
    ("environment", "count"),
    [
        (TWO_OF_JAX, 2),
        ({**TWO_OF_JAX, "JAX_NUM_PROCESSES": "1"}, None),
        ({"JAX_COORDINATOR_ADDRESS": "first:1"}, None),
        ({**TWO_OF_JAX, "INFOXLM_PROCESSES": "3", "INFOXLM_PROCESS": "2", "INFOXLM_COORDINATOR": "a:1"}, 3),
    ],
)
def test_kubeflows_variables_for_jax(environment, count):
    from infoxlm_keras.distribution.jax_processes import processes_of_run

    found = processes_of_run("auto", {}, None, environment)
    assert (found and found.count) == count


def test_a_strategy_of_one_process_beside_others_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(InputError, match="WORLD_SIZE = 2: torchrun started several processes, .*=tensorflow"):
        choose_distribution("auto")


@pytest.mark.parametrize(
    ("cluster", "task"),
    [
        ({"worker": WORKERS[:1], "ps": ["a:1"]}, "ps"),
        ({"chief": WORKERS[:1], "evaluator": ["a:1"]}, "evaluator"),
        ({"master": WORKERS[:1], "worker": ["a:1"]}, "master"),
        ({"master": WORKERS[:1], "worker": ["a:1"]}, "worker"),
    ],
)
def test_processes_that_are_no_workers(cluster, task):
    with pytest.raises(
        InputError, match=f"TF_CONFIG: task '{task}' of a cluster of .*: all processes must be workers"
    ):
        is_multi_worker(tf_config(cluster, task, 0))


def test_a_cluster_whose_workers_come_and_go():
    environment = {"TF_CONFIG": json.dumps({"sparseCluster": {"worker": {"0": "a:1"}}, "task": {"type": "worker"}})}
    with pytest.raises(InputError, match="switch off enableDynamicWorker"):
        is_multi_worker(environment)


# === Batches ===


def test_a_batch_that_replicas_cannot_share(tmp_path):
    config = check_config({"tlm": {"batch_size": 12}, "xlco": {"batch_size": 6}, "mmlm": {"batch_size": 8}})
    check_batches(config, Distribution(num_replicas=2))
    with pytest.raises(InputError, match="xlco.batch_size = 6: cannot be divided among 4 replicas; .*multiple of 4"):
        check_batches(config, Distribution(num_replicas=4))


def test_a_model_that_devices_cannot_share():
    config = check_config({"model": {"num_heads": 3, "hidden_dim": 12, "intermediate_dim": 16}})
    check_parts(config.model.encoder_size, Distribution("model_parallel", 2, ("a", "b")))
    with pytest.raises(InputError, match="model.num_heads = 3: cannot be cut into 2 parts; with --replicas 2 each"):
        check_parts(config.model.encoder_size, Distribution("model_parallel", 1, ("a", "b")))
    config = check_config({"model": {"num_heads": 3, "hidden_dim": 15, "intermediate_dim": 16}})
    with pytest.raises(InputError, match="model.hidden_dim = 15: cannot be cut into 2 parts; use --strategy mirrored"):
        check_parts(config.model.encoder_size, Distribution("fsdp", 2, ("a", "b")))


def test_description():
    config = check_config({"tasks": ["mmlm"], "mmlm": {"batch_size": 8}, "optimizer": {"accumulation_steps": 3}})
    distribution = Distribution("multiworker", 4, ("a", "b"), num_workers=2, worker=1)
    assert describe(config, distribution) == {
        "strategy": "multiworker",
        "devices": "a, b",
        "replicas": 4,
        "worker": "1 of 0..1",
        "global batch": "mmlm 24",
        "batch per replica": "mmlm 6, in 3 micro-batches",
    }


def test_steps_per_execution_divides_the_steps():
    assert check_config({"steps": 20000, "steps_per_execution": 8}).steps_per_execution == 8
    with pytest.raises(InputError, match="steps_per_execution = 7: must divide steps = 20000"):
        check_config({"steps": 20000, "steps_per_execution": 7})


# === Clusters ===


@pytest.mark.parametrize(
    ("cluster", "job", "index", "expected"),
    [
        ({"worker": WORKERS}, "worker", 0, (0, 3)),
        ({"worker": WORKERS}, "worker", 2, (2, 3)),
        ({"chief": ["zeroth:2222"], "worker": WORKERS}, "chief", 0, (0, 4)),
        ({"chief": ["zeroth:2222"], "worker": WORKERS}, "worker", 2, (3, 4)),
    ],
)
def test_tf_config(monkeypatch, cluster, job, index, expected):
    environment = tf_config(cluster, job, index)
    monkeypatch.setenv("TF_CONFIG", environment["TF_CONFIG"])
    assert is_multi_worker(environment) and worker_number(cluster_resolver(environment)) == expected


def test_one_worker_is_no_cluster():
    assert not is_multi_worker(tf_config({"worker": WORKERS[:1]}, "worker", 0)) and not is_multi_worker({})


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}']
)
def test_bad_tf_config(text):
    with pytest.raises(InputError, match="TF_CONFIG = .*must be JSON of the form"):
        cluster_resolver({"TF_CONFIG": text})


def test_parameter_servers_are_refused(monkeypatch):
    environment = tf_config({"worker": WORKERS, "ps": ["server:2222"]}, "worker", 0)
    monkeypatch.setenv("TF_CONFIG", environment["TF_CONFIG"])
    with pytest.raises(InputError, match="cluster of ps, worker: all processes must be workers"):
        worker_number(cluster_resolver(environment))


def test_slurm(monkeypatch):
    environment = {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NODELIST": "n[1-2]",
        "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
        "CUDA_VISIBLE_DEVICES": "0,1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_multi_worker(environment)
    resolver = cluster_resolver(environment)
    assert worker_number(resolver) == (3, 4)
    assert resolver.cluster_spec().as_dict() == {"worker": ["n1:8888", "n1:8889", "n2:8888", "n2:8889"]}


def test_slurm_without_its_variables(monkeypatch):
    for name in ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="under Slurm: .*not found in environment"):
        cluster_resolver({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"})


class Pods:
    """As much of `kubernetes.client.CoreV1Api` as is asked for."""

    def __init__(self, phase="Running"):
        self.phase = phase

    def list_pod_for_all_namespaces(self, label_selector):
        assert label_selector == "job-name=infoxlm"
        return types.SimpleNamespace(
            items=[
                types.SimpleNamespace(
                    metadata=types.SimpleNamespace(name=name),
                    status=types.SimpleNamespace(phase=self.phase, host_ip=address),
                )
                for name, address in (("pod-b", "10.0.0.2"), ("pod-a", "10.0.0.1"))
            ]
        )


def test_kubernetes():
    environment = {"INFOXLM_KUBERNETES_LABEL": "job-name=infoxlm", "HOSTNAME": "pod-b"}
    assert is_multi_worker(environment)
    resolver = cluster_resolver(environment, Pods())
    assert worker_number(resolver) == (1, 2)
    assert resolver.cluster_spec().as_dict() == {"worker": ["10.0.0.1:8470", "10.0.0.2:8470"]}
    with pytest.raises(InputError, match="this pod, laptop, is not among the pods: pod-a, pod-b"):
        cluster_resolver({**environment, "HOSTNAME": "laptop"}, Pods())
    with pytest.raises(InputError, match='Pod "pod-a" is not running'):
        cluster_resolver(environment, Pods("Pending"))
