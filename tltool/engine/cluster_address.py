"""Where the workers of a command are. Ray is not imported, so that mistakes are reported soon."""

from __future__ import annotations

import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from tltool.errors import EnvironmentProblem, UsageError
from tltool.runs.install_hint import install_hint

ANSWER_SECONDS = 15.0


@dataclass(frozen=True)
class ClusterAddress:
    """Where the workers are.

    Attributes:
        workers: number of workers to start on this machine; None to join a cluster.
        address: of a running cluster: auto or HOST:PORT; None to start workers here.
    """

    workers: int | None = None
    address: str | None = None


def check_address(where: ClusterAddress) -> None:
    """Check an address, and that something answers there; Ray is not imported.

    Raises:
        UsageError: the address is none, or clusters do not work on this system.
        EnvironmentProblem: Ray is not installed, or nothing answers.
    """
    address = where.address
    if address is not None:
        _check_text(address)
        if sys.platform == "win32":
            raise UsageError(
                "--cluster does not work on Windows, where Ray supports one machine only",
                hint="use --workers N, or WSL or Linux",
            )
    if find_spec("ray") is None:
        option = "--workers" if address is None else "--cluster"
        raise EnvironmentProblem(
            f"{option} needs Ray, which is not installed in this Python environment",
            hint=install_hint("cluster"),
        )
    if address not in (None, "auto"):
        _check_answers(str(address))


def _check_text(address: str) -> None:
    if address.startswith("ray://"):
        raise UsageError(
            f"--cluster {address}: Ray Client (ray://) is not supported",
            hint="start the command on the cluster itself: ray job submit --address "
            "http://HOST:8265 -- tltool … --cluster auto",
        )
    host, colon, port = address.rpartition(":")
    if address != "auto" and not (colon and host and port.isdecimal() and 0 < int(port) < 1 << 16):
        raise UsageError(
            f"--cluster {address}: expected auto, or HOST:PORT of the head of a Ray cluster",
            hint="such as --cluster auto or --cluster 10.0.0.5:6379",
        )


def _check_answers(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise no_answer(address, error.strerror or str(error)) from None


def no_answer(address: str, reason: str) -> EnvironmentProblem:
    """Return the error for an address at which there is no cluster."""
    missing = "no Ray cluster runs here" if address == "auto" else "no Ray cluster answers"
    return EnvironmentProblem(
        f"--cluster {address}: {missing} ({reason})",
        hint="`ray status` shows the cluster of this machine; --workers N starts workers here",
    )
