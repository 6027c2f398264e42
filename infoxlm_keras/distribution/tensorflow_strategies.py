"""Strategies on TensorFlow: `tf.distribute`."""

import contextlib
import functools
import re
import socket
import urllib.error
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from infoxlm_keras.distribution.agreement import check_agreement, number_of
from infoxlm_keras.distribution.cluster import cluster_resolver, is_multi_worker, worker_number
from infoxlm_keras.distribution.current import Distribution
from infoxlm_keras.distribution.versions import versions_in_common
from infoxlm_keras.errors import InputError

# Seconds that Google's metadata server and TPU interface may take to answer; elsewhere there are none.
TPU_TIMEOUT = 10


def choose(name: str, replicas: int | None, tpu: str | None, in_common: Mapping[str, Any]) -> Distribution:
    """See `choose_distribution`."""
    if name in ("fsdp", "model_parallel"):
        raise InputError(f"--strategy {name}: is made with JAX; set KERAS_BACKEND=jax")
    if name == "auto":
        name = _first_that_fits(tpu)
    make = {"one": _one, "mirrored": _mirrored, "multiworker": _multiworker, "tpu": _tpu}[name]
    distribution = make(replicas if name == "mirrored" else tpu)
    if distribution.num_workers > 1 and in_common:
        with distribution.scope():
            facts = {**in_common, **versions_in_common("tensorflow", tf.__version__)}
            check_agreement(number_of(facts), "their settings and versions; start all with the same command")
    return distribution


def _first_that_fits(tpu):
    if tpu is not None:
        return "tpu"
    if is_multi_worker():
        return "multiworker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _one(_):
    gpus = tf.config.list_logical_devices("GPU")
    return Distribution(devices=((gpus or tf.config.list_logical_devices("CPU"))[0].name,))


def _mirrored(replicas):
    if not tf.config.list_physical_devices("GPU"):
        devices = _logical_cpus(replicas or 1)
    else:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
        if replicas is not None and replicas > len(devices):
            raise InputError(f"--replicas {replicas}: this machine has {len(devices)} GPUs")
        devices = devices[:replicas]
    if len(devices) == 1:
        return _one(None)
    return Distribution("mirrored", len(devices), tuple(devices), strategy=_mirrored_strategy(tuple(devices)))


@functools.cache
def _mirrored_strategy(devices):
    """The one strategy of a process: a second one would give its messages numbers that the first has used."""
    return tf.distribute.MirroredStrategy(list(devices))


def _logical_cpus(count):
    """Names of `count` devices that share the CPU: no faster, and a way to try what several GPUs will do."""
    if len(tf.config.list_logical_devices("CPU")) < count if _is_initialized() else count > 1:
        try:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError:
            raise InputError(
                f"--replicas {count}: TensorFlow has started with fewer CPU devices; choose the strategy first"
            ) from None
    return [device.name for device in tf.config.list_logical_devices("CPU")][:count]


def _multiworker(_):
    resolver = cluster_resolver()
    worker, num_workers = worker_number(resolver)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Distribution(
        "multiworker",
        strategy.num_replicas_in_sync,
        # TensorFlow names this worker's own.
        tuple(
            re.sub(r"/task:\d+/", f"/task:{number}/", device)
            for number in range(num_workers)
            for device in strategy.extended.worker_devices
        ),
        num_workers=num_workers,
        worker=worker,
        strategy=strategy,
    )


# Lines that TensorFlow puts before what went wrong in a graph.
_GRAPH = re.compile(r"Graph execution error:|Detected at node|<stack traces unavailable>")


def _tpu(tpu):
    try:
        with _bounded_waiting(TPU_TIMEOUT):
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu or "")
            _check_reachable(resolver)
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
            strategy = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, urllib.error.URLError, tf.errors.OpError) as error:
        # Without a TPU the resolver fails in many ways: no name, no metadata server, no such node, no device.
        lines = [line for line in map(str.strip, str(error).splitlines()) if line and not _GRAPH.match(line)]
        reason = (lines or [type(error).__name__])[0].split(". ")[0].rstrip(".")
        raise InputError(
            f"--strategy tpu: no TPU {tpu or ''!r} was found ({reason}); on a TPU VM give --tpu local, else --tpu and "
            "the name or grpc:// address of a TPU of this project and zone"
        ) from None
    devices = tuple(device.name for device in tf.config.list_logical_devices("TPU"))
    return Distribution("tpu", strategy.num_replicas_in_sync, devices, strategy=strategy)


def _check_reachable(resolver):
    """Raises OSError unless every TPU worker takes a connection; TensorFlow itself would try for minutes."""
    if resolver.master() in ("", "local"):
        return
    for address in resolver.cluster_spec().job_tasks(resolver.get_job_name() or "worker"):
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), TPU_TIMEOUT).close()


@contextlib.contextmanager
def _bounded_waiting(seconds):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _is_initialized():
    from tensorflow.python.eager import context

    return context.context()._initialized
