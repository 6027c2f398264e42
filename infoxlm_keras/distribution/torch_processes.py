"""The processes of a run on PyTorch, as `torchrun` or a scheduler names them in the environment.

The names are those of `torch.distributed`: WORLD_SIZE, RANK, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. Before the
processes join, each writes what it was started with into PyTorch's key-value store, and reads what all others wrote.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping

import torch
from torch import distributed

from infoxlm_keras.distribution.ending import ending_at_once
from infoxlm_keras.distribution.meeting import Processes, disagreement
from infoxlm_keras.distribution.versions import versions_in_common
from infoxlm_keras.errors import InputError

# Seconds that all processes have to come.
TIMEOUT = 300.0
# Seconds that a message may take. A process that has ended closes its connections, which on CPUs is noticed at once;
# with NCCL, and where a machine is gone, this time passes. The first process writes a checkpoint meanwhile.
MESSAGE_TIMEOUT = 600.0
# Seconds for which the first process, which holds the store, waits until all have read from it.
LINGER = 5.0
RETRY_SECONDS = 0.2


def processes_of_run(environment: Mapping[str, str] = os.environ) -> Processes | None:
    """The `Processes` that `torchrun` started this one among; None if it is the only one.

    Raises:
        InputError: if not all of the variables are set, or one is out of range.
    """
    if environment.get("WORLD_SIZE", "") == "":
        return None
    count = _number(environment, "WORLD_SIZE")
    if count < 2:
        return None
    number, port = _number(environment, "RANK"), _number(environment, "MASTER_PORT")
    if not 0 <= number < count:
        raise InputError(f"RANK = {number}: with WORLD_SIZE = {count} processes they are numbered 0..{count - 1}")
    if not 0 < port < 65536:
        raise InputError(f"MASTER_PORT = {port}: must be a port, 1..65535")
    host = environment.get("MASTER_ADDR", "")
    if not host:
        raise InputError(_not_set("MASTER_ADDR"))
    local = _number(environment, "LOCAL_RANK") if environment.get("LOCAL_RANK") else None
    return Processes(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", count, number, local)


def connect(processes: Processes, in_common: Mapping[str, str], timeout: float = TIMEOUT) -> str:
    """Joins all processes in the default group of `torch.distributed`; returns the name of this one's device.

    Args:
        processes: `Processes`.
        in_common: dict of str to str, what must be the same on all of them; the versions of the libraries are added.
        timeout: float, seconds that all processes have to come.

    Raises:
        InputError: if the coordinator does not answer, processes have not come, or they do not agree; if there is no
            GPU for this process.
    """
    device = _own_device(processes)
    kind = device.partition(":")[0]
    facts = {**in_common, **versions_in_common("torch"), "the kind of device": kind}
    store = _store(processes, timeout)
    problem = _compare(store, processes, facts, timeout)
    if problem is not None:
        raise InputError(problem)
    distributed.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        store=distributed.PrefixStore("group", store),
        rank=processes.number,
        world_size=processes.count,
        timeout=datetime.timedelta(seconds=MESSAGE_TIMEOUT),
        device_id=torch.device(device) if kind == "cuda" else None,
    )
    return device


@contextlib.contextmanager
def ending_together() -> Iterator[None]:
    """Context for all that a command does in the group: leaves it at the end, or ends at once on an error."""
    with ending_at_once():
        yield
        distributed.destroy_process_group()


def _own_device(processes):
    """The name of this process's device, which Keras and PyTorch use from now on."""
    if not torch.cuda.is_available():
        return "cpu"
    local = 0 if processes.local_device is None else processes.local_device
    count = torch.cuda.device_count()
    if local >= count:
        raise InputError(
            f"LOCAL_RANK = {local}: this machine has {count} GPUs; start one process a GPU, torchrun "
            f"--nproc_per_node {count}, or train on CPUs with CUDA_VISIBLE_DEVICES="
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"


def _store(processes, timeout):
    """PyTorch's key-value store. `torchrun` has one; else the first process holds it."""
    host, port = processes.address
    held_by_torchrun = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    is_holder = processes.number == 0 and not held_by_torchrun
    deadline = time.monotonic() + timeout
    if not is_holder:
        # PyTorch would print lines of native code for each try.
        _wait_for(processes, deadline, timeout)
    try:
        store = distributed.TCPStore(
            host,
            port,
            processes.count,
            is_holder,
            timeout=datetime.timedelta(seconds=max(1.0, deadline - time.monotonic())),
            wait_for_workers=False,
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        if is_holder:
            raise InputError(
                f"MASTER_PORT = {port}: process 0 cannot listen there ({reason:.200}); give a free port, the same to "
                "all processes"
            ) from None
        raise InputError(_no_answer(processes, timeout, reason)) from None
    # After a restart by torchrun the store still has what the processes before wrote.
    return distributed.PrefixStore(f"infoxlm/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _wait_for(processes, deadline, timeout):
    while True:
        try:
            with socket.create_connection(processes.address, max(0.1, deadline - time.monotonic())):
                return
        except OSError as error:
            if time.monotonic() >= deadline:
                reason = (error.strerror or str(error)).lower()
                raise InputError(_no_answer(processes, timeout, reason)) from None
        time.sleep(RETRY_SECONDS)


def _no_answer(processes, timeout, reason):
    return (
        f"MASTER_ADDR, MASTER_PORT = {processes.coordinator}: does not answer within {timeout:.0f} seconds "
        f"({reason:.200}); it is the address of process 0, or of the first torchrun, which must run there, with a "
        "port that this machine can reach"
    )


def _compare(store, processes, facts, timeout):
    """What the processes do not agree on, one line, or None."""
    deadline = time.monotonic() + timeout
    found = {processes.number: facts}
    try:
        store.set(str(processes.number), json.dumps(facts))
        for number in set(range(processes.count)) - {processes.number}:
            left = max(0.1, deadline - time.monotonic())
            store.wait([str(number)], datetime.timedelta(seconds=left))
            found[number] = json.loads(store.get(str(number)))
        store.add("read", 1)
    except RuntimeError as error:
        missing = [number for number in range(processes.count) if number not in found]
        return (
            f"process {', '.join(map(str, missing))} of 0..{processes.count - 1} has not come to "
            f"{processes.coordinator} within {timeout:.0f} seconds ({str(error).splitlines()[0]:.120}); start all "
            f"{processes.count} processes at about the same time"
        )
    problem = disagreement(found)
    if problem is not None and processes.number == 0:
        deadline = time.monotonic() + LINGER
        while store.add("read", 0) < processes.count and time.monotonic() < deadline:
            time.sleep(0.05)
    return problem


def _number(environment, name):
    text = environment.get(name, "")
    if not text:
        raise InputError(_not_set(name))
    if not text.isdecimal():
        raise InputError(f"{name} = {text}: must be a number")
    return int(text)


def _not_set(name):
    return f"{name}: is not set, but WORLD_SIZE names several processes; start them with torchrun"
