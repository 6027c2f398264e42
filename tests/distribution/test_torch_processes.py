"""The meeting of PyTorch's processes: what their environment names, who is missing, who disagrees, in bounded time."""

import socket
import threading
import time

import pytest

from infoxlm_keras.distribution.meeting import Processes
from infoxlm_keras.distribution.torch_processes import connect, processes_of_run
from infoxlm_keras.errors import InputError

TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "first", "MASTER_PORT": "29500"}


def port():
    with socket.create_server(("localhost", 0)) as server:
        return server.getsockname()[1]


def refused(processes, in_common, timeout):
    """The message with which `connect` refuses, and the seconds that it took."""
    begin = time.monotonic()
    with pytest.raises(InputError) as error:
        connect(processes, in_common, timeout)
    return str(error.value), time.monotonic() - begin


def test_the_environment_of_torchrun():
    assert processes_of_run(TORCHRUN) == Processes("first:29500", 4, 3, 1)
    assert processes_of_run({**TORCHRUN, "MASTER_ADDR": "::1"}).address == ("::1", 29500)
    assert processes_of_run({}) is None and processes_of_run({**TORCHRUN, "WORLD_SIZE": "1"}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": ""}, "RANK: is not set, but WORLD_SIZE names several processes; start them with torchrun"),
        ({"RANK": "4"}, "RANK = 4: with WORLD_SIZE = 4 processes they are numbered 0..3"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE = two: must be a number"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT = 70000: must be a port"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR: is not set"),
    ],
)
def test_an_environment_that_names_no_group(change, message):
    with pytest.raises(InputError, match=message):
        processes_of_run({**TORCHRUN, **change})


def test_processes_that_do_not_agree():
    coordinator = f"localhost:{port()}"
    found = {}

    def one(number):
        found[number], _ = refused(Processes(coordinator, 2, number), {"seed": str(number)}, 20.0)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert found[0].startswith("the processes do not agree on seed: 0 (process 0), 1 (process 1); start all")


def test_a_process_that_does_not_come():
    message, seconds = refused(Processes(f"localhost:{port()}", 3, 0), {}, 1.0)
    assert message.startswith("process 1, 2 of 0..2 has not come to localhost:") and "\n" not in message
    assert seconds < 30


def test_a_coordinator_that_does_not_answer():
    message, seconds = refused(Processes(f"localhost:{port()}", 2, 1), {}, 1.0)
    assert "does not answer within 1 seconds (connection refused); it is the address of process 0" in message
    assert seconds < 30


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as server:
        message, _ = refused(Processes(f"localhost:{server.getsockname()[1]}", 2, 0), {}, 1.0)
    assert message.startswith("MASTER_PORT = ") and "give a free port" in message
