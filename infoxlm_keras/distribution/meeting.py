"""The processes of a run meet before they train: all are there, and all were started alike.

JAX ends a process with a stack trace of native code if another one does not come, and compares nothing. Here the first
process listens at the coordinator's address. Every other process connects and sends what it was started with. The
first compares, and answers each of them. Afterwards the address is free for JAX.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Mapping

from infoxlm_keras.errors import InputError

# A message starts with it, so that other programs that connect to the port are passed over.
GREETING = "infoxlm_keras"
LONGEST_MESSAGE = 1 << 20
RETRY_SECONDS = 0.2


@dataclasses.dataclass(frozen=True)
class Processes:
    """The processes of a run, and the number of this one.

    Attributes:
        coordinator: str, `host:port` at which the first process listens.
        count: int, processes.
        number: int in 0..count - 1.
        local_device: int, the one GPU of the machine that this process uses, or None for all.
    """

    coordinator: str
    count: int
    number: int
    local_device: int | None = None

    @property
    def address(self) -> tuple[str, int]:
        """(host, port) of the coordinator."""
        host, _, port = self.coordinator.rpartition(":")
        return host.strip("[]"), int(port)


def meet(processes: Processes, in_common: Mapping[str, str], timeout: float) -> None:
    """Waits until all processes are there, and checks that they agree.

    Args:
        processes: `Processes`.
        in_common: dict of str to str, what must be the same on all of them.
        timeout: float, seconds that all of them have to come.

    Raises:
        InputError: on every process that has come, if others have not, or if `in_common` differs; on this one, if the
            coordinator does not answer.
    """
    facts = {"--processes": str(processes.count), **in_common}
    if processes.number == 0:
        problem = _receive(processes, facts, timeout)
    else:
        problem = _send(processes, facts, timeout)
    if problem is not None:
        raise InputError(problem)


def disagreement(facts: Mapping[int, Mapping[str, str]]) -> str | None:
    """What processes do not agree on, one line, or None.

    Args:
        facts: dict of process number to its dict of name to value.
    """
    names = sorted({name for each in facts.values() for name in each})
    lines = []
    for name in names:
        values: dict[str, list[int]] = {}
        for number, each in sorted(facts.items()):
            values.setdefault(each.get(name, "not given"), []).append(number)
        if len(values) > 1:
            found = ", ".join(f"{value:.200} (process {_numbers(numbers)})" for value, numbers in values.items())
            lines.append(f"{name}: {found}")
    if not lines:
        return None
    return f"the processes do not agree on {'; '.join(lines)}; start all of them with the same command and versions"


def _receive(processes, facts, timeout):
    """The first process's part: the problem that it found and sent to all others, or None."""
    deadline = time.monotonic() + timeout
    _, port = processes.address
    found, connections = {0: facts}, []
    problem = None
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listening(port, processes.coordinator))
        while problem is None and len(found) < processes.count:
            connection = _accepted(server, deadline)
            if connection is None:
                missing = sorted(set(range(processes.count)) - set(found))
                problem = (
                    f"process {_numbers(missing)} of 0..{processes.count - 1} has not come to {processes.coordinator} "
                    f"within {timeout:.0f} seconds; start all {processes.count} processes, each with the same "
                    "--coordinator, at about the same time"
                )
                break
            stack.enter_context(connection)
            message = _read(connection, deadline)
            if message is None:
                continue
            connections.append(connection)
            number = message["process"]
            if message["facts"].get("--processes") != facts["--processes"]:
                problem = disagreement({0: facts, number: message["facts"]})
            elif number in found or not 0 <= number < processes.count:
                problem = f"two processes have the number {number}; give each of 0..{processes.count - 1} to one"
            else:
                found[number] = message["facts"]
        problem = problem or disagreement(found)
        for connection in connections:
            _write(connection, {"greeting": GREETING, "problem": problem})
        # The others close first: this end would keep the port in use for a while.
        for connection in connections:
            _read(connection, time.monotonic() + 5)
    return problem


def _send(processes, facts, timeout):
    """Another process's part: the problem that the first one found, or None."""
    deadline = time.monotonic() + timeout
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(processes.address, max(0.1, deadline - time.monotonic())) as connection:
                _write(connection, {"greeting": GREETING, "process": processes.number, "facts": facts})
                # The first process waits for the others up to its own deadline, which may be later than this one's.
                answer = _read(connection, deadline + timeout)
            if answer is not None:
                return answer["problem"]
            reason = "it closed the connection"
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
        time.sleep(RETRY_SECONDS)
    return (
        f"--coordinator {processes.coordinator}: does not answer within {timeout:.0f} seconds ({reason}); it is the "
        "address of process 0, which must run there, with a port that this machine can reach"
    )


def _listening(port, coordinator):
    """The socket of the first process, on all addresses of the machine."""
    both = socket.has_dualstack_ipv6()
    try:
        return socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )
    except OSError as error:
        raise InputError(
            f"--coordinator {coordinator}: process 0 cannot listen on port {port} ({(error.strerror or '').lower()}); "
            "give a free port, the same on all processes"
        ) from None


def _accepted(server, deadline):
    """A connection, or None when the time is over."""
    server.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return server.accept()[0]
    except TimeoutError:
        return None


def _read(connection, deadline):
    """A message of this protocol, dict; None if another program sent something, or nothing came."""
    content = b""
    try:
        while not content.endswith(b"\n") and len(content) < LONGEST_MESSAGE:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            part = connection.recv(1 << 16)
            if not part:
                return None
            content += part
        message = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("greeting") != GREETING:
        return None
    is_question = isinstance(message.get("process"), int) and isinstance(message.get("facts"), dict)
    return message if is_question or "problem" in message else None


def _write(connection, message):
    # A process that has ended meanwhile gets no answer; the others do.
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def _numbers(numbers):
    return ", ".join(map(str, numbers))
