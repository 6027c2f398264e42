"""The meeting of a run's processes before JAX joins them: who is missing, who disagrees, in bounded time."""

import socket
import threading
import time

import pytest

from infoxlm_keras.distribution.jax_processes import processes_of_run
from infoxlm_keras.distribution.meeting import Processes, disagreement, meet
from infoxlm_keras.errors import InputError

FACTS = {"seed": "5"}


def address():
    with socket.create_server(("localhost", 0)) as server:
        return f"localhost:{server.getsockname()[1]}"


def meeting(count, numbers, facts=None, timeout=10.0, coordinator=None, counts=None):
    """dict of place in `numbers` to the message that this process got, or None; and the seconds that it took."""
    coordinator = coordinator or address()
    found = {}

    def one(place, number):
        processes = Processes(coordinator, (counts or {}).get(place, count), number)
        try:
            meet(processes, (facts or {}).get(place, FACTS), timeout)
            found[place] = None
        except InputError as error:
            found[place] = str(error)

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(numbers)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, time.monotonic() - begin


def test_all_are_there():
    coordinator = address()
    for _ in range(3):
        found, seconds = meeting(3, [0, 1, 2], coordinator=coordinator)
        assert found == {0: None, 1: None, 2: None} and seconds < 8
    # The address is free afterwards.
    socket.create_server(("localhost", int(coordinator.rpartition(":")[2]))).close()


def test_the_first_may_come_last():
    coordinator = address()
    late = []
    thread = threading.Thread(target=lambda: late.append(meet(Processes(coordinator, 2, 1), FACTS, 20)))
    thread.start()
    time.sleep(1.0)
    meet(Processes(coordinator, 2, 0), FACTS, 20)
    thread.join()
    assert late == [None]


def test_every_process_names_what_differs():
    found, _ = meeting(3, [0, 1, 2], facts={1: {"seed": "6"}})
    assert set(found.values()) == {
        "the processes do not agree on seed: 5 (process 0, 2), 6 (process 1); start all of them with the same command "
        "and versions"
    }


def test_a_number_that_two_processes_have():
    # The two and the coordinator are told. Whichever comes second is the one too many.
    found, _ = meeting(3, [0, 1, 1])
    assert set(found.values()) == {"two processes have the number 1; give each of 0..2 to one"}


def test_different_numbers_of_processes():
    found, _ = meeting(2, [0, 1], counts={1: 3})
    assert all("do not agree on --processes: 2 (process 0), 3 (process 1)" in message for message in found.values())


def test_one_that_does_not_come():
    found, seconds = meeting(3, [0, 1], timeout=1.5)
    assert all("process 2 of 0..2 has not come to localhost" in message for message in found.values())
    assert 1.4 < seconds < 8


@pytest.mark.parametrize("listens", [False, True])
def test_a_coordinator_that_does_not_answer(listens):
    """Nobody listens there, or a program that says nothing."""
    with socket.create_server(("localhost", 0)) as server:
        coordinator = f"localhost:{server.getsockname()[1]}"
        if not listens:
            server.close()
        found, seconds = meeting(2, [1], timeout=1.0, coordinator=coordinator)
    assert f"--coordinator {coordinator}: does not answer within 1 seconds" in found[0]
    assert seconds < 5


def test_other_programs_at_the_port_are_passed_over():
    coordinator = address()
    host, _, port = coordinator.rpartition(":")
    errors = []

    def first():
        try:
            meet(Processes(coordinator, 2, 0), FACTS, 10)
        except InputError as error:
            errors.append(str(error))

    thread = threading.Thread(target=first)
    thread.start()
    for content in (b"GET / HTTP/1.1\r\n\r\n\n", b'{"process": 1}\n', b"[" * 5000 + b"\n", b""):
        for _ in range(50):
            try:
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(content)
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
    meet(Processes(coordinator, 2, 1), FACTS, 10)
    thread.join()
    assert errors == []


def test_a_port_in_use():
    with socket.create_server(("", 0)) as server:
        found, _ = meeting(2, [0], coordinator=f"localhost:{server.getsockname()[1]}", timeout=1.0)
    assert "process 0 cannot listen on port" in found[0] and "give a free port" in found[0]


def test_values_that_are_given_on_some_only():
    message = disagreement({0: {"a": "1"}, 1: {"a": "1", "b": "2"}})
    assert "b: not given (process 0), 2 (process 1)" in message and "a:" not in message
    assert disagreement({0: {"a": "1"}, 1: {"a": "1"}}) is None


# === Where the processes are named ===

GIVEN = {"coordinator": "host:1234", "processes": 4, "process": 3}
VARIABLES = {"INFOXLM_COORDINATOR": "[::1]:99", "INFOXLM_PROCESSES": "2", "INFOXLM_PROCESS": "1"}


def test_options_come_before_variables():
    assert processes_of_run("multiworker", GIVEN, None, VARIABLES) == Processes("host:1234", 4, 3)
    found = processes_of_run("auto", {}, None, VARIABLES)
    assert found == Processes("[::1]:99", 2, 1) and found.address == ("::1", 99)
    assert processes_of_run("multiworker", {**GIVEN, "processes": 1, "process": 0}, None, {}) is None
    assert processes_of_run("multiworker", {}, None, {}) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"coordinator": None}, "--coordinator .or INFOXLM_COORDINATOR. is not given"),
        ({"process": None}, "--process .or INFOXLM_PROCESS. is not given"),
        ({"coordinator": "host"}, "--coordinator host: must be HOST:PORT"),
        ({"coordinator": "host:99999"}, "--coordinator host:99999: must be HOST:PORT"),
        ({"coordinator": ":12"}, "must be HOST:PORT"),
        ({"processes": 0, "process": 0}, "--processes 0: must be at least 1"),
        ({"process": 4}, "--process 4: with --processes 4 they are numbered 0..3"),
        ({"process": -1}, "--process = -1: must be a number"),
    ],
)
def test_options_that_do_not_fit(changed, message):
    with pytest.raises(InputError, match=message):
        processes_of_run("multiworker", {**GIVEN, **changed}, None, {})


def test_slurm(monkeypatch):
    variables = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_NODELIST": "node[3-4]",
        "SLURM_NTASKS": "4",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = processes_of_run("auto", {}, None, variables)
    assert (found.count, found.number, found.local_device) == (4, 3, 1)
    assert found.coordinator == f"node3:{65535 - 2**12 + 1 + 7}"
    monkeypatch.delenv("SLURM_LOCALID")
    with pytest.raises(InputError, match="SLURM_LOCALID are not all set; start with srun"):
        processes_of_run("multiworker", {}, None, variables)
