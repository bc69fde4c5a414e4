"""The workers of a run wait for each other before TensorFlow connects them.

TensorFlow's first worker waits without end for one that does not come, and cannot be interrupted.
Here each worker uses its own port for a moment, with a time limit. The first one compares what the
others are about to do with what it does itself, and sends them what they need.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.peers import Peers

SECONDS = 300.0
"""How long workers wait for each other, unless TLTOOL_WORKER_TIMEOUT says otherwise."""
_PAUSE, _ANSWER_SECONDS = 0.2, 15.0
_LENGTH, _PIECE = 8, 2**20
_AT_ONCE = 64  # workers that are sent to
_LONGEST_GREETING = 2**16


def worker_timeout() -> float:
    """Return for how many seconds a worker is waited for.

    Raises:
        UsageError: TLTOOL_WORKER_TIMEOUT is no positive number.
    """
    text = os.environ.get("TLTOOL_WORKER_TIMEOUT", str(SECONDS))
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < float("inf"):
            return seconds
    raise UsageError(
        f"TLTOOL_WORKER_TIMEOUT is {text!r}, not a number of seconds", hint="set it to 300"
    )


def meet(peers: Peers, same: Mapping[str, str], message: bytes = b"") -> bytes:
    """Wait until all workers are there, and return what the first one sends to all.

    Args:
        peers: the processes, and which of them this one is.
        same: what must be the same on all workers, by the name for a message.
        message: what the first worker sends; of the others it is not used.

    Raises:
        UsageError: a worker is about to do something else than the first one.
        EnvironmentProblem: a worker does not come, or the own port cannot be used.
    """
    ends = time.monotonic() + worker_timeout()
    with _listening(peers.address) as server:
        if peers.writes:
            return _lead(peers, server, dict(same), message, ends)
        return _follow(peers, dict(same), ends)


def _lead(
    peers: Peers, server: socket.socket, same: dict[str, str], message: bytes, ends: float
) -> bytes:
    missing = set(range(1, len(peers.addresses)))
    with contextlib.ExitStack() as stack:
        connections = []
        while missing:
            connection = stack.enter_context(_accepted(peers, server, missing, ends))
            greeting = _greeting(connection)
            if greeting is None or greeting[0] not in missing:
                continue  # not a worker of this run
            rank, theirs = greeting
            connections.append((rank, connection))
            missing.remove(rank)
            problem = _difference(peers, rank, same, theirs)
            if problem:
                for _, one in connections:
                    with contextlib.suppress(OSError):  # it has ended already
                        _send(one, b"!", problem.encode())
                raise UsageError(problem, hint="start the same command on all workers")
        for rank, _ in connections:
            _check_reachable(peers.addresses[rank])
        _send_to_all(peers, connections, message)
        for _, connection in connections:  # the others close first: their ports are free then
            with contextlib.suppress(OSError):
                connection.recv(1)
    return message


def _send_to_all(
    peers: Peers, connections: list[tuple[int, socket.socket]], message: bytes
) -> None:
    """Send the message to all other workers at once: a slow one does not delay the others."""

    def send(rank: int, connection: socket.socket) -> None:
        try:
            _send(connection, b"=", message)
        except OSError:
            raise _ended(peers.addresses[rank]) from None

    with ThreadPoolExecutor(min(len(connections), _AT_ONCE)) as pool:
        for sent in [pool.submit(send, *one) for one in connections]:
            sent.result()


def _follow(peers: Peers, same: dict[str, str], ends: float) -> bytes:
    first = peers.addresses[0]
    greeting = json.dumps([peers.rank, same]).encode()
    while True:
        with contextlib.suppress(OSError), _connected(first, ends) as connection:
            _send(connection, greeting)
            connection.settimeout(max(_PAUSE, ends - time.monotonic()))
            answer = _received(connection)
            kind, rest = bytes(answer[:1]), memoryview(answer)[1:]
            if kind == b"!":
                problem = str(rest, "utf-8")
                raise UsageError(problem, hint="start the same command on all workers")
            if kind == b"=":
                return bytes(rest)
        if time.monotonic() > ends:
            raise _no_answer([first])
        time.sleep(_PAUSE)


def _difference(
    peers: Peers, rank: int, ours: dict[str, str], theirs: dict[str, str]
) -> str | None:
    for name, value in ours.items():
        if theirs.get(name) != value:
            return (
                f"the workers {peers.addresses[0]} and {peers.addresses[rank]} of TF_CONFIG "
                f"differ in {name}: {value} and {theirs.get(name)}"
            )
    return None


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    host, port = _split(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("", port))
            server.listen(128)
        except OSError as error:
            raise EnvironmentProblem(
                f"the port of this worker, {address} in TF_CONFIG, cannot be used: "
                f"{error.strerror}",
                hint="end the process that uses it, or choose another port on all workers",
            ) from None
        yield server


def _accepted(peers: Peers, server: socket.socket, missing: set[int], ends: float) -> socket.socket:
    server.settimeout(max(0.01, ends - time.monotonic()))
    try:
        connection, _ = server.accept()
    except TimeoutError:
        raise _no_answer([peers.addresses[rank] for rank in sorted(missing)]) from None
    connection.settimeout(_ANSWER_SECONDS)
    return connection


def _greeting(connection: socket.socket) -> tuple[int, dict[str, str]] | None:
    try:
        rank, theirs = json.loads(_received(connection, most=_LONGEST_GREETING))
        return int(rank), {str(name): str(value) for name, value in theirs.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _check_reachable(address: str) -> None:
    """Check that the first worker, too, can connect to another one, as TensorFlow will."""
    try:
        with _connected(address, time.monotonic() + _ANSWER_SECONDS):
            return
    except OSError:
        raise _no_answer([address]) from None


def _connected(address: str, ends: float) -> socket.socket:
    left = max(_PAUSE, min(_ANSWER_SECONDS, ends - time.monotonic()))
    return socket.create_connection(_split(address), timeout=left)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _send(connection: socket.socket, *parts: bytes) -> None:
    connection.sendall(sum(map(len, parts)).to_bytes(_LENGTH, "big"))
    for part in parts:
        for start in range(0, len(part), _PIECE):  # the time limit is that of one call
            connection.sendall(part[start : start + _PIECE])


def _received(connection: socket.socket, most: int = 2**40) -> bytearray:
    """Return what ``_send`` sent.

    Raises:
        OSError: the connection ended, or something else was sent.
    """
    size = int.from_bytes(_exactly(connection, _LENGTH), "big")
    if size > most:
        raise ConnectionError("not a worker")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytearray:
    received = bytearray()
    while len(received) < size:
        part = connection.recv(min(size - len(received), _PIECE))
        if not part:
            raise ConnectionError("the connection ended")
        received += part
    return received


def _ended(address: str) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"the worker {address} of TF_CONFIG ended or does not answer any more",
        hint="its messages say why; start the same command on all workers again",
    )


def _no_answer(addresses: list[str]) -> EnvironmentProblem:
    several = len(addresses) > 1
    return EnvironmentProblem(
        f"the worker{'s' * several} {', '.join(addresses)} of TF_CONFIG "
        f"{'do' if several else 'does'} not answer within {worker_timeout():g} seconds",
        hint="start the same command on all workers, and check that their ports are open to each "
        "other; TLTOOL_WORKER_TIMEOUT=600 waits longer",
    )
