"""A Ray cluster of two nodes on this machine, with ports and a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 120.0  # to start a node on a busy machine
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled"}  # of all processes: a token would be one of the user
_STARTS = 3
_STARTED = "Ray runtime started"


@dataclass(frozen=True)
class RunningCluster:
    """Where a cluster is.

    Attributes:
        address: HOST:PORT of its head.
        processes: process numbers of its nodes.
    """

    address: str
    processes: tuple[int, ...]


@contextmanager
def running_cluster() -> Iterator[RunningCluster]:
    """Start a head and a second node with one CPU each, and end them afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # the path of a socket in it has at most 107 bytes
    folder, nodes = Path(tempfile.mkdtemp(prefix="tl", dir="/tmp")), list[subprocess.Popen[bytes]]()
    head = ("--head", "--port", address.rpartition(":")[2], "--temp-dir", str(folder),
            "--include-dashboard", "false")  # fmt: skip
    try:
        for number, own in enumerate((head, ("--address", address))):
            nodes.append(_started(folder / f"node-{number}.log", *own))
        yield RunningCluster(address, tuple(node.pid for node in nodes))
        assert all(node.poll() is None for node in nodes), "a node has ended"
    finally:
        for node in reversed(nodes):
            _end(node)
        shutil.rmtree(folder, ignore_errors=True)


def _started(log: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a node; once more if it fails, for Ray gives its processes 15 seconds."""
    for _ in range(_STARTS):
        node = _start(log, *options)
        ends = time.monotonic() + _SECONDS
        while node.poll() is None and time.monotonic() < ends:
            if _STARTED in log.read_text(errors="replace"):
                return node
            time.sleep(0.2)
        _end(node)
    raise AssertionError(log.read_text(errors="replace"))


def _end(node: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        node.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGKILL)
    node.wait()


def _start(log: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [
        Path(sys.executable).with_name("ray"), "start", "--node-ip-address", "127.0.0.1",
        "--num-cpus", "1", "--num-gpus", "0", "--object-store-memory", str(100 * 2**20),
        "--min-worker-port", "0", "--max-worker-port", "0", "--disable-usage-stats", "--block",
        *options,
    ]  # fmt: skip
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path.cwd())}
    with log.open("wb") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, start_new_session=True
        )
