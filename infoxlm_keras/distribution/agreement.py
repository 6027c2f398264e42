"""Values that the workers of a run exchange outside of a training step."""

import functools
import hashlib
import json
import time
from typing import Any

import keras
import numpy as np

from infoxlm_keras.distribution.current import current_distribution
from infoxlm_keras.errors import InputError

SECONDS_TO_FETCH = 2.0


def check_agreement(value: int, what: str) -> None:
    """Waits for all workers and checks that each has the same `value`.

    Args:
        value: int.
        what: str, what the value is and what to do if it differs, for the error.

    Raises:
        InputError: on every worker, if two of them differ.
    """
    values = sorted(set(values_of_workers(value)))
    if len(values) > 1:
        let_others_leave()
        raise InputError(f"the workers do not agree on {what}: {', '.join(map(str, values))}")


def number_of(content: Any) -> int:
    """int >= 0 that differs if `content` (of JSON values) differs, for `check_agreement`."""
    text = json.dumps(content, sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def wait_for_workers() -> None:
    """Waits until all workers are here: files that the chief wrote before are there for all of them."""
    values_of_workers(0)


def let_others_leave() -> None:
    """Waits a moment before a process ends, since the others may still be fetching this worker's last message.

    TensorFlow closes the connections of a process that ends, and a message that is not yet fetched is lost with them.
    """
    if keras.backend.backend() == "tensorflow" and current_distribution().num_workers > 1:
        time.sleep(SECONDS_TO_FETCH)


def on_any_worker(flag: bool) -> bool:
    """Whether `flag` (bool) is true on any worker; every worker must call it at the same step and gets the same value.

    It is for an event that one worker notices and all must act on, such as a signal to stop.
    """
    return any(values_of_workers(int(flag)))


def values_of_workers(value: int) -> list[int]:
    """List of each replica's worker's int `value`, in the workers' order; waits for all.

    On JAX and PyTorch there is one value a process.

    `value` is in the range of int64.
    """
    distribution = current_distribution()
    if distribution.num_workers == 1:
        return [value]
    if keras.backend.backend() == "jax":
        return _values_of_jax_processes(value)
    if keras.backend.backend() == "torch":
        return _values_of_torch_processes(value)
    import tensorflow as tf

    strategy = distribution.strategy
    return strategy.experimental_local_results(_joined(strategy)(tf.constant([value], tf.int64)))[0].numpy().tolist()


def _values_of_jax_processes(value):
    from jax.experimental import multihost_utils

    # JAX would make an int64 an int32.
    halves = multihost_utils.process_allgather(np.array([value], np.int64).view(np.uint32))
    return np.ascontiguousarray(halves, np.uint32).view(np.int64).reshape(-1).tolist()


def _values_of_torch_processes(value):
    import torch

    from infoxlm_keras.distribution.torch_replicas import TorchReplicas

    # NCCL sends what lies on the GPU.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return TorchReplicas().join(torch.tensor([value], dtype=torch.int64, device=device), axis=0).tolist()


@functools.cache
def _joined(strategy):
    """The function that joins one number a replica, made once."""
    import tensorflow as tf

    from infoxlm_keras.distribution.replicas import Replicas

    return tf.function(lambda own: strategy.run(lambda: Replicas().join(own, axis=0)), autograph=False)
